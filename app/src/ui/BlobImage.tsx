/** An image kept as a blob. */

import { useEffect, useState } from "preact/hooks";

interface Props {
  blob: Blob;
  alt: string;
  width: number;
  height: number;
  class?: string;
}

export function BlobImage({ blob, alt, width, height, class: name }: Props) {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const created = URL.createObjectURL(blob);
    setUrl(created);
    return () => URL.revokeObjectURL(created);
  }, [blob]);
  return <img src={url} alt={alt} width={width} height={height} class={name} />;
}
