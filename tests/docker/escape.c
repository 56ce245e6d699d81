/*
 * What a program in a sandbox may try to get out of it, or at the machine under it. Each attempt is
 * made in a process of its own, and one line tells how it ended: "NAME done", or "NAME stopped
 * ERROR". Attempts that would harm the machine if they went well stop short of that: a file is
 * opened for writing, not written.
 *
 *   escape KEY=VALUE… [NAME]…      all of them, or those named
 *
 * abstract (name), port, socket (path): what listens outside; disk (MAJOR:MINOR): the machine's;
 * pid: a process outside.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 65534
#define SECONDS 10 /* for one attempt */
#define DIR "/tmp/.escape"

static const char *self = "";
static const char *abstract_name = "none", *engine_socket = "/none", *disk = "8:0";
static int port = 1, outside_pid = 1 << 21;

/* ---- Name spaces and mounts ---- */

static int mount_at(const char *type, const char *options)
{
	return mount("none", DIR, type, 0, options);
}

static int mount_proc(void)
{
	return mount_at("proc", NULL);
}

static int mount_sysfs(void)
{
	return mount_at("sysfs", NULL);
}

static int mount_tmpfs(void)
{
	return mount_at("tmpfs", NULL);
}

static int mount_cgroup(void)
{
	return mount_at("cgroup2", NULL);
}

static int mount_overlay(void)
{
	return mount_at("overlay", "lowerdir=/bin:/etc");
}

static int mount_bind(void)
{
	return mount("/etc", DIR, NULL, MS_BIND, NULL);
}

static int mount_writable(void)
{
	return mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL);
}

static int umount_masks(void)
{
	return umount2("/proc/kcore", MNT_DETACH);
}

static int fs_open(void)
{
	return syscall(SYS_fsopen, "tmpfs", 0);
}

static int open_tree(void)
{
	return syscall(SYS_open_tree, AT_FDCWD, "/etc", 1 /* OPEN_TREE_CLONE */);
}

static int unshare_user(void)
{
	return unshare(CLONE_NEWUSER);
}

static int unshare_mount(void)
{
	return unshare(CLONE_NEWNS);
}

static int unshare_pid(void)
{
	return unshare(CLONE_NEWPID);
}

static int unshare_net(void)
{
	return unshare(CLONE_NEWNET);
}

static int clone_user(void)
{
	int pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return pid;
}

static int clone3_user(void)
{
	unsigned long long args[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
	int pid = syscall(SYS_clone3, args, sizeof(args));

	if (pid == 0)
		_exit(0);
	return pid;
}

static int enter_namespace(void)
{
	int fd = open("/proc/1/ns/mnt", O_RDONLY);

	return fd < 0 ? -1 : setns(fd, CLONE_NEWNS);
}

static int pivot_root(void)
{
	return syscall(SYS_pivot_root, "/", DIR);
}

/* Root in a root of its own keeps a directory outside of that, and goes up from it. */
static int chroot_escape(void)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY);

	return chroot(DIR) < 0 ? -1 : fchdir(fd);
}

static int open_by_handle(void)
{
	struct {
		struct file_handle h;
		unsigned ino[2];
	} root = {{8, 1}, {2, 0}}; /* / of an ext4 */
	int fd = open("/etc/hosts", O_RDONLY);

	return syscall(SYS_open_by_handle_at, fd, &root, O_RDONLY);
}

/* ---- Devices and the kernel's files ---- */

static int mknod_disk(void)
{
	unsigned major = 0, minor = 0;

	sscanf(disk, "%u:%u", &major, &minor);
	return mknod(DIR "/disk", S_IFBLK | 0600, makedev(major, minor)) < 0 ||
		       open(DIR "/disk", O_RDONLY) < 0
		   ? -1
		   : 0;
}

static int mknod_mem(void)
{
	return mknod(DIR "/mem", S_IFCHR | 0600, makedev(1, 1)) < 0 ||
		       open(DIR "/mem", O_RDONLY) < 0
		   ? -1
		   : 0;
}

/* Any of PATHS, a list that ends with NULL. */
static int open_any(const char *const *paths, int flags)
{
	int first = 0;

	for (; *paths; paths++) {
		if (open(*paths, flags) >= 0)
			return 0;
		first = first && errno == ENOENT ? first : errno;
	}
	errno = first;
	return -1;
}

static int open_disks(void)
{
	return open_any((const char *const[]){"/dev/sda", "/dev/vda", "/dev/xvda", "/dev/nvme0n1",
					      "/dev/loop0", "/dev/loop-control", "/dev/dm-0",
					      "/dev/mapper/control", NULL},
			O_RDONLY);
}

static int open_memory(void)
{
	return open_any((const char *const[]){"/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg",
					      "/dev/kvm", "/dev/fuse", "/dev/net/tun", NULL},
			O_RDONLY);
}

static int read_kcore(void)
{
	char c;
	int fd = open("/proc/kcore", O_RDONLY);

	errno = fd < 0 ? errno : ENODATA;
	return fd >= 0 && read(fd, &c, 1) == 1 ? 0 : -1;
}

static int sysrq(void)
{
	return open("/proc/sysrq-trigger", O_WRONLY);
}

static int core_pattern(void)
{
	return open("/proc/sys/kernel/core_pattern", O_WRONLY);
}

static int sysctl_any(void)
{
	return open_any((const char *const[]){"/proc/sys/vm/drop_caches",
					      "/proc/sys/kernel/modprobe", "/proc/sys/fs/file-max",
					      "/proc/irq/default_smp_affinity",
					      "/proc/sys/kernel/sysrq", NULL},
			O_WRONLY);
}

static int sys_any(void)
{
	return open_any((const char *const[]){"/sys/kernel/uevent_helper", "/sys/power/state",
					      "/sys/kernel/mm/transparent_hugepage/enabled",
					      "/sys/block/vda/queue/scheduler",
					      "/sys/module/fuse/uevent", "/sys/fs/fuse/connections",
					      NULL},
			O_WRONLY);
}

static int cgroup_any(void)
{
	return open_any((const char *const[]){"/sys/fs/cgroup/memory/memory.limit_in_bytes",
					      "/sys/fs/cgroup/memory/release_agent",
					      "/sys/fs/cgroup/pids/pids.max",
					      "/sys/fs/cgroup/devices/devices.allow",
					      "/sys/fs/cgroup/memory.max",
					      "/sys/fs/cgroup/pids.max", NULL},
			O_WRONLY);
}

static int cgroup_mkdir(void)
{
	/* Of version 1, the directory above is a tmpfs of the container's own. */
	if (mkdir("/sys/fs/cgroup/memory/escape", 0755) == 0)
		return 0;
	return errno == ENOENT ? mkdir("/sys/fs/cgroup/escape", 0755) : -1;
}

static int kernel_log(void)
{
	char text[64];

	return klogctl(3, text, sizeof(text));
}

/* ---- System calls ---- */

static int load_module(void)
{
	return syscall(SYS_init_module, "\177ELF", 4UL, "");
}

static int load_module_file(void)
{
	return syscall(SYS_finit_module, open("/proc/self/exe", O_RDONLY), "", 0);
}

static int unload_module(void)
{
	return syscall(SYS_delete_module, "no_such_module", O_NONBLOCK);
}

static int kexec(void)
{
	return syscall(SYS_kexec_load, 0UL, 0UL, NULL, 0UL);
}

static int bpf(void)
{
	unsigned map[16] = {2 /* BPF_MAP_TYPE_ARRAY */, 4, 4, 1};

	return syscall(SYS_bpf, 0 /* BPF_MAP_CREATE */, map, sizeof(map));
}

static int perf(void)
{
	struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE, .size = sizeof(a)};

	return syscall(SYS_perf_event_open, &a, -1, 0, -1, 0UL);
}

static int user_fault(void)
{
	return syscall(SYS_userfaultfd, O_CLOEXEC);
}

static int add_key(void)
{
	return syscall(SYS_add_key, "user", "escape", "x", 1UL, -3 /* the session's */);
}

static int key_ring(void)
{
	return syscall(SYS_keyctl, 0, -4 /* the user's */, 0, 0, 0);
}

static int io_uring(void)
{
	unsigned params[30] = {0};

	return syscall(SYS_io_uring_setup, 4, params);
}

static int set_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return clock_settime(CLOCK_REALTIME, &now);
}

static int adjust_clock(void)
{
	struct timex t = {.modes = ADJ_FREQUENCY};

	return adjtimex(&t);
}

static int reboot_settings(void)
{
	return reboot(RB_DISABLE_CAD);
}

static int set_host_name(void)
{
	return sethostname("escaped", 7);
}

static int swap_on(void)
{
	return swapon("/etc/hosts", 0);
}

static int accounting(void)
{
	return syscall(SYS_acct, DIR "/acct");
}

static int io_ports(void)
{
#ifdef SYS_iopl
	return syscall(SYS_iopl, 3);
#else
	errno = ENOSYS;
	return -1;
#endif
}

static int more_priority(void)
{
	return setpriority(PRIO_PROCESS, 0, -10);
}

static int real_time(void)
{
	struct sched_param p = {.sched_priority = 1};

	return syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &p);
}

static int more_files(void)
{
	struct rlimit l;

	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_max = l.rlim_max == RLIM_INFINITY ? l.rlim_max : l.rlim_max + 1;
	return l.rlim_max == RLIM_INFINITY ? (errno = ENOTSUP, -1) : setrlimit(RLIMIT_NOFILE, &l);
}

static int more_capabilities(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct all[2] = {{~0U, ~0U, 0}, {0x1ff, 0x1ff, 0}};

	return syscall(SYS_capset, &head, all);
}

/* As nobody, by a program that is root's and setuid. */
static int set_uid_program(void)
{
	char line[300];
	int status;

	snprintf(line, sizeof(line),
		 "cp %s " DIR "/suid && chown 0:0 " DIR "/suid && chmod 6755 " DIR "/suid", self);
	if (system(line) != 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		return -1;
	status = system(DIR "/suid is-root");
	errno = EPERM;
	return status == 0 ? 0 : -1;
}

/* ---- Other processes ---- */

/* The guest that serves files, which is any process of that name. */
static int guest_pid(void)
{
	for (int pid = 2; pid < 5000; pid++) {
		char path[64], line[256] = "";
		FILE *f;
		size_t n;

		snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
		f = fopen(path, "r");
		n = f ? fread(line, 1, sizeof(line) - 2, f) : 0;
		if (f)
			fclose(f);
		if (n > 0 && strstr(line, "aib-guest") &&
		    strcmp(line + strlen(line) + 1, "serve") == 0)
			return pid;
	}
	errno = ESRCH;
	return -1;
}

static int attach(int pid)
{
	if (pid < 0 || ptrace(PTRACE_ATTACH, pid, NULL, NULL) < 0)
		return -1;
	waitpid(pid, NULL, __WALL);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	return 0;
}

static int trace_init(void)
{
	return attach(1);
}

static int trace_guest(void)
{
	return attach(guest_pid());
}

static int read_guest(void)
{
	char c;
	struct iovec here = {&c, 1}, there = {(void *)0x400000, 1};
	int pid = guest_pid();

	return pid < 0 ? -1 : process_vm_readv(pid, &here, 1, &there, 1, 0);
}

static int stop_init(void)
{
	return kill(1, SIGKILL);
}

static int kill_guest(void)
{
	int pid = guest_pid();

	return pid < 0 ? -1 : kill(pid, SIGKILL);
}

static int kill_outside(void)
{
	return kill(outside_pid, SIGKILL);
}

static int see_outside(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", outside_pid);
	return open(path, O_RDONLY);
}

/* ---- Who listens outside ---- */

static int connect_unix(const char *name, size_t offset)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path + offset, sizeof(a.sun_path) - offset, "%s", name);
	return connect(fd, (struct sockaddr *)&a,
		       offsetof(struct sockaddr_un, sun_path) + offset + strlen(name));
}

static int abstract_socket(void)
{
	return connect_unix(abstract_name, 1);
}

static int engine(void)
{
	if (connect_unix(engine_socket, 0) == 0 || connect_unix("/var/run/docker.sock", 0) == 0)
		return 0;
	return connect_unix("/run/containerd/containerd.sock", 0);
}

static int connect_ip(const char *address)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, address, &a.sin_addr);
	return connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static int loopback(void)
{
	return connect_ip("127.0.0.1");
}

static int network(void)
{
	return connect_ip("192.0.2.1") == 0 ? 0 : connect_ip("172.17.0.1");
}

/* The machine's cloud or its hypervisor. */
static int metadata(void)
{
	return connect_ip("169.254.169.254");
}

static int raw_socket(void)
{
	return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static int packet_socket(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0);
}

static int vsock(void)
{
	return socket(AF_VSOCK, SOCK_STREAM, 0);
}

/* ---- All of them ---- */

#define P(f)                                                                                       \
	{                                                                                          \
#f, f                                                                              \
	}
static const struct probe {
	const char *name;
	int (*run)(void);
} probes[] = {
    P(mount_proc),
    P(mount_sysfs),
    P(mount_tmpfs),
    P(mount_cgroup),
    P(mount_overlay),
    P(mount_bind),
    P(mount_writable),
    P(umount_masks),
    P(fs_open),
    P(open_tree),
    P(unshare_user),
    P(unshare_mount),
    P(unshare_pid),
    P(unshare_net),
    P(clone_user),
    P(clone3_user),
    P(enter_namespace),
    P(pivot_root),
    P(chroot_escape),
    P(open_by_handle),
    P(mknod_disk),
    P(mknod_mem),
    P(open_disks),
    P(open_memory),
    P(read_kcore),
    P(sysrq),
    P(core_pattern),
    P(sysctl_any),
    P(sys_any),
    P(cgroup_any),
    P(cgroup_mkdir),
    P(kernel_log),
    P(load_module),
    P(load_module_file),
    P(unload_module),
    P(kexec),
    P(bpf),
    P(perf),
    P(user_fault),
    P(add_key),
    P(key_ring),
    P(io_uring),
    P(set_clock),
    P(adjust_clock),
    P(reboot_settings),
    P(set_host_name),
    P(swap_on),
    P(accounting),
    P(io_ports),
    P(more_priority),
    P(real_time),
    P(more_files),
    P(more_capabilities),
    P(set_uid_program),
    P(trace_init),
    P(trace_guest),
    P(read_guest),
    P(kill_outside),
    P(see_outside),
    P(abstract_socket),
    P(engine),
    P(loopback),
    P(network),
    P(metadata),
    P(raw_socket),
    P(packet_socket),
    P(vsock),
    P(stop_init),
    P(kill_guest),
};

static void attempt(const struct probe *p)
{
	int status, pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		alarm(SECONDS);
		if (p->run() >= 0)
			printf("%s done\n", p->name);
		else
			printf("%s stopped %s\n", p->name, strerror(errno));
		fflush(stdout);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
		printf("%s stopped by signal %d\n", p->name, pid < 0 ? 0 : WTERMSIG(status));
}

/* Whether WORD, a KEY=VALUE, was one. */
static int take(const char *word)
{
	const char *value = strchr(word, '=');

	if (!value++)
		return 0;
	switch (*word) {
	case 'a':
		abstract_name = value;
		break;
	case 's':
		engine_socket = value;
		break;
	case 'd':
		disk = value;
		break;
	case 'p':
		*(word[1] == 'o' ? &port : &outside_pid) = atoi(value);
		break;
	}
	return 1;
}

int main(int argc, char **argv)
{
	int first = 1;

	self = argv[0];
	if (argc == 2 && strcmp(argv[1], "is-root") == 0)
		return geteuid() == 0 || getegid() == 0 ? 0 : 1;
	while (first < argc && take(argv[first]))
		first++;
	mkdir(DIR, 0777);
	for (size_t i = 0; i < sizeof(probes) / sizeof(*probes); i++) {
		int named = first == argc;

		for (int k = first; k < argc; k++)
			named |= strcmp(argv[k], probes[i].name) == 0;
		if (named)
			attempt(&probes[i]);
	}
	return 0;
}
