/*
 * The exec protocol: frames between aib-exec, the daemon and `aib-guest run`. The same frames run
 * on both legs; between them the daemon only watches for EXIT. On the leg client-daemon it is a
 * Unix stream socket (its peer's uid is checked by SO_PEERCRED), on the leg daemon-guest the
 * stream that the backend gives (a hijacked Engine API exec, unframed by its demultiplexer).
 *
 * A frame is an 8-byte header and a payload:
 *
 *      offset  size  field
 *      0       4     payload length, little-endian, at most PROTO_MAX_PAYLOAD
 *      4       1     type
 *      5       3     zero; anything else is a protocol error
 *
 * An operation (read, grep…) is answered as a command is: STDOUT and STDERR, then one EXIT with its
 * status. STARTED comes only from one that takes input, and asks for it: then STDIN frames and
 * STDIN_EOF follow, without CREDIT; the connection itself is the back-pressure. The end of the
 * client's side cancels it.
 *
 * Client to daemon: one REQUEST, then, once STARTED has come, STDIN, STDIN_EOF, SIGNAL, WINSIZE,
 * CLOSE.
 * Daemon to client: for exec, STARTED, then STDOUT, STDERR and CREDIT, then one EXIT, then the end;
 * or one ERROR and the end (of the guest too, in place of STARTED: a user that is not there). For
 * any other request one REPLY or ERROR (PROGRESS may come before). The end of the stream before
 * EXIT kills the command's whole tree, unless it is a job's.
 *
 * A client whose request says "stream" may get one STREAM in place of all that: the socket that
 * comes with it leads to the guest itself, and the frames go over that, both ways, as they would
 * have gone over the connection. The daemon keeps no copy, so its end is the guest's to see. The
 * connection stays, silent: the command counts as running until the client ends its side of it
 * (shutdown(2), or its own end). Then the daemon forgets what it cached of the sandbox, and ends
 * its side: a client that waits for that finds nothing stale. The end of the daemon's side before
 * that is the end of the mount, and the client ends the command by closing its stream.
 *
 * A job's command outlives its stream. The guest keeps what the daemon has not acknowledged, at
 * most PROTO_JOB_WINDOW of each output, and then reads the command's output no further. The daemon
 * sends ACK for what it has stored, and DONE when it has stored the EXIT: then the guest ends.
 * Where the stream is lost, another one is had by the verb `attach` of the guest; on that the
 * daemon begins with ATTACH, the guest answers with ATTACHED, and STARTED (if it was), STDOUT,
 * STDERR and EXIT follow from there. The newest stream counts.
 *
 * Requests are bounded by PROTO_MAX_REQUEST and sent in as many REQUEST frames as they need; a
 * frame shorter than PROTO_MAX_PAYLOAD ends them. REPLY likewise.
 */
#ifndef AIB_EXEC_PROTOCOL_H
#define AIB_EXEC_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

#define PROTO_VERSION 1
#define PROTO_HEADER 8
#define PROTO_MAX_PAYLOAD 65536
#define PROTO_MAX_REQUEST (4 << 20)

enum proto_type {
	PROTO_REQUEST = 1,   /* JSON, see below */
	PROTO_STDIN = 2,     /* bytes */
	PROTO_STDIN_EOF = 3, /* empty; half-close: output goes on. For a terminal: ignored */
	PROTO_SIGNAL = 4,    /* u8 Linux signal number, to the command's process group */
	PROTO_WINSIZE = 5,   /* u16 rows, u16 columns, little-endian */
	PROTO_CLOSE = 6,     /* u8, 1 or 2: nobody reads standard output or error any more, so that
				the command gets SIGPIPE. For a terminal: ignored */

	/* Daemon to guest, of a job alone; numbers are u64, little-endian. */
	PROTO_ATTACH = 7, /* bytes of standard output and of standard error that are stored */
	PROTO_ACK = 8,	  /* the same; what comes before them is not needed any more */
	PROTO_DONE = 9,	  /* empty: EXIT is stored */
	PROTO_KILL = 10,  /* u8: 0 TERM to the whole tree, KILL after a grace; 1 KILL at once */

	PROTO_STARTED = 16,  /* empty: the program is executing (the guest's execve succeeded) */
	PROTO_STDOUT = 17,   /* bytes */
	PROTO_STDERR = 18,   /* bytes */
	PROTO_EXIT = 19,     /* struct proto_exit */
	PROTO_REPLY = 20,    /* JSON */
	PROTO_ERROR = 21,    /* UTF-8 text for people: what failed, on what, why, what to do */
	PROTO_PROGRESS = 22, /* UTF-8 text, a line for people, no newline */
	PROTO_CREDIT = 23,   /* u32, little-endian: so many bytes more of STDIN may be sent */
	PROTO_STREAM =
	    24, /* the sandbox's name, with a socket (SCM_RIGHTS): the command's own stream */
	PROTO_ATTACHED = 25, /* the answer to ATTACH, 4 u64: bytes of STDIN that came until now, and
				that may have come before the next CREDIT; where standard output and
				error go on, which is not before what ATTACH says unless that was
				less than what is acknowledged */
};

/*
 * Bytes of STDIN that may be sent before the first CREDIT; the guest gives credit for what the
 * command has read. A client that keeps to it never has a SIGNAL stuck behind data that nobody
 * reads. One that does not is slowed down by back-pressure, signals included.
 */
#define PROTO_STDIN_WINDOW (1 << 20)

/* Bytes of each of a job's outputs that the guest keeps. */
#define PROTO_JOB_WINDOW (256 << 10)
#define PROTO_ATTACH_SIZE 16 /* and ACK */
#define PROTO_ATTACHED_SIZE 32

/* Payload of EXIT, 8 bytes: how u8, value u8, timed_out u8, 5 zero. */
enum proto_how {
	PROTO_EXITED = 0,    /* value: exit status */
	PROTO_SIGNALLED = 1, /* value: signal number, 1 to 64 */
	PROTO_NOT_FOUND = 2, /* no such program (execve: ENOENT, ENOTDIR): status 127 */
	PROTO_NOT_EXEC = 3,  /* not executable (EACCES, ENOEXEC…; value: errno): status 126 */
	PROTO_NO_CWD = 4,    /* the working directory is not there (value: errno): status 125 */
	PROTO_FAILED = 5,    /* the guest itself failed (value: errno): status 125 */
};

struct proto_exit {
	uint8_t how; /* enum proto_how */
	uint8_t value;
	uint8_t timed_out; /* 1: the timeout ended it; aib-exec answers 124 */
};

#define PROTO_EXIT_SIZE 8

struct proto_header {
	uint32_t len;
	uint8_t type;
};

/* Encode into OUT, PROTO_HEADER bytes. LEN is at most PROTO_MAX_PAYLOAD. */
void proto_put_header(uint8_t *out, uint8_t type, uint32_t len);
/* Decode PROTO_HEADER bytes. Returns 0, or -EPROTO where a field is out of bounds. */
int proto_get_header(const uint8_t *in, struct proto_header *ret);
void proto_put_exit(uint8_t *out, const struct proto_exit *e);
/* LEN is the frame's payload length. Returns 0 or -EPROTO. */
int proto_get_exit(const uint8_t *in, size_t len, struct proto_exit *ret);
void proto_put_u64(uint8_t *out, uint64_t n);
uint64_t proto_get_u64(const uint8_t *in);
/* The status of aib-exec for E, as design: the command's, 128+n, 124, 125, 126 or 127. */
int proto_exit_status(const struct proto_exit *e);

/*
 * REQUEST is a JSON object with "op":
 *
 *   {"op": "exec", "version": 1, "argv": ["make", "test"], "cwd": "/home/me/box/py/workspace",
 *    "pwd": "/home/me/link/workspace", "sandbox": "py", "default_sandbox": "db",
 *    "env": ["K=V"], "user": "1000:1000", "tty": true, "rows": 24, "cols": 80,
 *    "merged": true, "timeout_ms": 30000, "workdir": "/in/the/sandbox", "detach": true,
 *    "stream": true}
 *        cwd: the caller's working directory, an absolute host path with the mount point as its
 *        prefix (else `sandbox` is needed); workdir (-w): overrides it, absolute in the sandbox or,
 *        below the mount point, mapped as cwd is. Only op, version and argv are required.
 *        pwd: the caller's own spelling of cwd ($PWD), for PWD. default_sandbox: the sandbox where
 *        neither `sandbox` nor cwd names one ($AIB_SANDBOX). detach: a job, whose name
 *        is "job" or made up: REPLY {"job": NAME} once it has started; it has no standard input.
 *        stream: the client understands STREAM. merged: standard error goes where standard output
 *        does (STDOUT).
 *   {"op": "read"|"write"|"edit"|"ls"|"glob"|"grep", "at": "/home/me/box/py/x", "path": "py/x",
 *    "json": true, …}  an operation of backends/ops (its ops.c lists the keys): at is an absolute
 *        path below the mount point, path the same as the caller gave it, for output
 *   {"op": "status"}     REPLY {"version", "pid", "mountpoint", "uptime_s", "routes": [{"path",
 *                        "type", "source", "state", "error"}], …}
 *   {"op": "jobs"}       REPLY {"jobs": [{"name", "state", "sandbox", "cmd", "exit_code"…}]}
 *   {"op": "job_wait", "name": NAME}   REPLY, as one of those, once it is over; "status" is what a
 *                        shell would show
 *   {"op": "job_logs", "name": NAME, "follow": true, "no_stdout": true, "no_stderr": true}
 *                        STDOUT, STDERR…, then REPLY {}: now, or when it is over
 *   {"op": "job_kill", "name": NAME, "signal": 15}   REPLY {}; 0 (default): the whole tree, TERM
 * and KILL after a grace; 9: KILL to the whole tree; else to its process group
 *   {"op": "job_rm", "name": NAME}     REPLY {}; where it runs it is killed
 *   {"op": "session", "do": "get", "name": "alice", "owner": "alice", "idle_timeout": "30m",
 *    "runtime": "python-minimal", "image": "python:3.12-slim", "env": {"K": "v"}, …}
 *        Get or create; the options are those of a container and count for a new one only. REPLY
 *        {"name", "workspace", "owner", "state", …}, as of "status". "do" is one of get, release,
 *        status, rm ("workspace": true deletes that too), each with "name", and ls, cleanup and
 *        shutdown (REPLY {"sessions": […]} or {"count": n}). Others than the mount's owner may do
 *        what concerns sessions of their own.
 *   {"op": "umount", "force": false}   PROGRESS…, then REPLY {} when everything has ended
 */

#endif
