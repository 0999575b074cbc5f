import type { Server } from "node:http";

export function serve(
  folder: string,
  options?: { port?: number; policy?: string },
): Promise<{ server: Server; url: string; sent: () => number }>;
