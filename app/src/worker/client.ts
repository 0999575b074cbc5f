/** The page's side of the worker. */

import { AppError } from "../core/errors";
import type { CallName, Calls, Request, Response } from "./protocol";

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: AppError) => void;
}

/** Calls into the worker; a worker that dies (out of memory) is replaced, and its calls fail in words. */
export class Engine {
  private worker: Worker | null = null;
  private next = 0;
  private readonly waiting = new Map<number, Waiting>();

  async call<Name extends CallName>(name: Name, request: Calls[Name]["request"]): Promise<Calls[Name]["response"]> {
    const worker = (this.worker ??= this.create());
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      worker.postMessage({ id, name, request } as Request);
    });
  }

  /** End the worker; the next call starts a fresh one. */
  stop(error = new AppError("workerEnded")): void {
    this.worker?.terminate();
    this.worker = null;
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }

  /** Start the worker ahead of the first call: its runtime loads meanwhile. */
  start(): void {
    this.worker ??= this.create();
  }

  private create(): Worker {
    const worker = new Worker(new URL("./index.ts", import.meta.url), { type: "module" });
    worker.addEventListener("message", ({ data }: MessageEvent<Response>) => {
      const waiting = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.ok) waiting?.resolve(data.value as never);
      else waiting?.reject(new AppError(data.error.key, data.error.params));
    });
    worker.addEventListener("error", (event) =>
      this.stop(new AppError("workerFailed", { detail: event.message ?? "" })),
    );
    return worker;
  }
}
