export function launchOptions(extra?: string[]): { executablePath?: string; args: string[] };
