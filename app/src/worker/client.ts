/** The page's side of the worker. */

import { AppError } from "../core/errors";
import type { CallName, Calls, Request, Response } from "./protocol";
import { compileRuntime } from "./runtime";

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: AppError) => void;
}

/** What is handed over, not copied: the files of a model that were fetched for the worker. */
function fetchedIn(request: Calls[CallName]["request"]): ArrayBuffer[] {
  return request !== null && "fetched" in request ? Object.values(request.fetched ?? {}) : [];
}

/** Calls into the worker; a worker that dies (out of memory) is replaced, and its calls fail in words. */
export class Engine {
  private running: { worker: Worker; started: Promise<void> } | null = null;
  private next = 0;
  private readonly waiting = new Map<number, Waiting>();

  async call<Name extends CallName>(name: Name, request: Calls[Name]["request"]): Promise<Calls[Name]["response"]> {
    const { worker, started } = (this.running ??= this.create());
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      void started.then(() => worker.postMessage({ id, name, request } as Request, fetchedIn(request)));
    });
  }

  /** End the worker; the next call starts a fresh one. */
  stop(error = new AppError("workerEnded")): void {
    this.running?.worker.terminate();
    this.running = null;
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }

  /** Start the worker ahead of the first call: its runtime loads meanwhile. */
  start(): void {
    this.running ??= this.create();
  }

  private create(): { worker: Worker; started: Promise<void> } {
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
    const id = this.next++; // nobody waits for it: what goes wrong is told when a model is opened
    const started = compileRuntime().then((module) => worker.postMessage({ id, name: "start", request: module }));
    return { worker, started };
  }
}
