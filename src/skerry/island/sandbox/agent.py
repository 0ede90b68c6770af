"""The resident agent of one sandbox: executes, opens terminals, dials ports, reads and writes files.

It lives inside the sandbox (as PID 1 of its process namespace, or as a child subreaper where there is none), knows
nothing of the server but the sockets it was given, and goes on without it: it pumps output into the log files,
enforces timeouts and writes exit records whether or not anyone listens. It imports nothing after it was started and
uses only the standard library, so that a root file system needs no Python.

Wire protocol
=============
`SOCK_SEQPACKET` unix sockets. One packet is one JSON object in UTF-8, with descriptors attached by `SCM_RIGHTS`. A
packet larger than 60,000 bytes travels as `{"big": true}` with a memory file holding the JSON as its *first*
descriptor, the packet's own descriptors after it. Any number of servers may be connected; each gets every event.

Requests carry `n` (a number chosen by the caller) and `op`. Replies repeat `n` with `"ok": true` and the answer, or
`"ok": false`, `reason` (a reason of `driver.SandboxError`) and `message`. Replies may come out of order. Packets
without `n` from the agent are events.

| op | fields, [descriptors] | answer, [descriptors] |
|---|---|---|
| `hello` | | `version`, `runs` (ids still running), `port` (egress listener or null) |
| `exec` | `run`, `argv`, `env`, `cwd`, `timeout`, `grace` (seconds or null), `cap` (kept bytes per stream), `stdin`, `state`, `keep` (booleans); [stdout file, stderr file, record file, then stdin if `stdin`, then the file for descriptor 8 if `state`] | `pid`; an `exit` event follows, at once if the program cannot be started |
| `terminal` | `run`, `argv`, `env`, `cwd`, `timeout`, `grace`, `columns`, `rows` | `pid`, [master]; an `exit` event follows |
| `signal` | `run`, `signal` | sent to the run's whole session |
| `cancel` | `run`, `grace` | SIGTERM now, SIGKILL after `grace` seconds |
| `watch` | `run`, `stream` (`stdout`, `stderr`), `offset` | `size`, `ended`: answered once the log is longer than `offset` or the run has ended or is unknown |
| `dial` | `host`, `port` | [connected socket] |
| `open` | `path`, `beneath` | `size`, [file opened for reading] |
| `create` | `path`, `beneath`, `mode` | `token`, [temporary file beside the target] |
| `commit` / `abort` | `token` | the file is in place / gone; a lost connection aborts |
| `listen` | | `port`, [listening TCP socket on 127.0.0.1 of the sandbox] |
| `status` | | `runs`, `processes` (alive, without the agent) |
| `freeze` / `thaw` | | SIGSTOP / SIGCONT to every process; a lost connection thaws |
| `retire` | | `idle`; when true the agent ends right after this answer and has read no later request |

Event `exit`: `run`, `exit_code`, `cause`, `stdout_bytes`, `stderr_bytes`, `dropped_bytes`, `cpu_ns`, `max_rss_bytes`,
`wall_ns`, `state` (base64, null, or absent when it is only in the record because of its size).

The record file holds the same as one JSON line with `state_bytes`, followed by the raw bytes of the state; an empty or
cut record means that the run's end is unknown.
"""
