/** What the exit code of a command says; scripts rely on these. */
export const exitCodes = { ok: 0, failed: 1, usage: 2, denied: 3, unreachable: 4 } as const;

/** For the foot of `portcullis --help`. */
export const exitCodesHelp = `
Exit codes:
  0  done
  1  failed: the gate refused, or a check found something
  2  the command line or an argument is wrong
  3  the key is missing, wrong, or lacks the scope
  4  no gate answers

Environment:
  PORTCULLIS_URL, PORTCULLIS_KEY or PORTCULLIS_KEY_FILE say which gate and which key. Without them the commands talk
  to the gate that \`portcullis up\` runs on this machine. No command takes a secret as an argument.`;
