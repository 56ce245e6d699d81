#include "spec.h"

#include <string.h>

/*
 * What a package manager needs to unpack as root and to drop to users of its own (apt's _apt), and
 * KILL, for the guest to end trees of other users. Not: MKNOD, NET_RAW, SYS_CHROOT, SETFCAP,
 * SETPCAP, AUDIT_WRITE, NET_BIND_SERVICE, which the Engine would give.
 */
static const char *const capabilities[] = {"CHOWN",  "DAC_OVERRIDE", "FOWNER", "FSETID",
					   "SETUID", "SETGID",	     "KILL"};

static cJSON *strings(const char *const *list, size_t n)
{
	return cJSON_CreateStringArray(list, n);
}

static cJSON *mounts(const struct docker_conf *c)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; i < c->n_volumes; i++) {
		cJSON *m = cJSON_CreateObject();

		cJSON_AddStringToObject(m, "Type", "bind");
		cJSON_AddStringToObject(m, "Source", c->volumes[i].host);
		cJSON_AddStringToObject(m, "Target", c->volumes[i].place);
		cJSON_AddBoolToObject(m, "ReadOnly", c->volumes[i].readonly);
		cJSON_AddItemToArray(list, m);
	}
	return list;
}

static cJSON *labels(const struct spec_input *in)
{
	const cJSON *given = in->conf->labels_json;
	cJSON *l = given ? cJSON_Duplicate(given, true) : cJSON_CreateObject();
	char host[256] = "", uid[16];

	cJSON_AddStringToObject(l, "aib.version", AIB_VERSION);
	cJSON_AddStringToObject(l, "aib.mount", in->mount_id);
	cJSON_AddStringToObject(l, "aib.mountpoint", in->mountpoint);
	cJSON_AddStringToObject(l, "aib.route", in->route);
	cJSON_AddStringToObject(l, "aib.image", in->conf->image);
	cJSON_AddStringToObject(l, "aib.keep", in->conf->keep ? "true" : "false");
	/* Who may say later that nobody owns it. */
	(void)gethostname(host, sizeof(host) - 1);
	snprintf(uid, sizeof(uid), "%u", geteuid());
	cJSON_AddStringToObject(l, "aib.host", host);
	cJSON_AddStringToObject(l, "aib.uid", uid);
	cJSON_AddStringToObject(l, "aib.alive", in->alive ? in->alive : "");
	return l;
}

static cJSON *host_config(const struct spec_input *in)
{
	const struct docker_conf *c = in->conf;
	cJSON *h = cJSON_CreateObject(), *log, *disk;
	char size[32];

	cJSON_AddStringToObject(h, "NetworkMode", c->network);
	cJSON_AddNumberToObject(h, "Memory", c->memory);
	cJSON_AddNumberToObject(h, "MemorySwap", c->memory);
	if (in->cpus > 0)
		cJSON_AddNumberToObject(h, "NanoCpus", (int64_t)(in->cpus * 1e9));
	cJSON_AddNumberToObject(h, "PidsLimit", c->pids);
	cJSON_AddItemToObject(h, "CapDrop", strings((const char *[]){"ALL"}, 1));
	cJSON_AddItemToObject(h, "CapAdd", strings(capabilities, ARRAY_SIZE(capabilities)));
	cJSON_AddItemToObject(h, "SecurityOpt", strings((const char *[]){"no-new-privileges"}, 1));
	cJSON_AddStringToObject(h, "IpcMode", "private");
	/* What PID 1 and its children print is nobody's; a log of it would only fill the disk. */
	log = cJSON_AddObjectToObject(h, "LogConfig");
	cJSON_AddStringToObject(log, "Type", "none");
	cJSON_AddItemToObject(h, "Mounts", mounts(c));
	if (c->oci_runtime)
		cJSON_AddStringToObject(h, "Runtime", c->oci_runtime);
	if (c->disk) {
		snprintf(size, sizeof(size), "%llu", (unsigned long long)c->disk);
		disk = cJSON_AddObjectToObject(h, "StorageOpt");
		cJSON_AddStringToObject(disk, "size", size);
	}
	return h;
}

int spec_make(const struct spec_input *in, cJSON **ret)
{
	const struct docker_conf *c = in->conf;
	cJSON *s = cJSON_CreateObject(), *env = cJSON_Duplicate(c->env, true), *health;

	if (!s || !env) {
		cJSON_Delete(s);
		cJSON_Delete(env);
		return -ENOMEM;
	}
	cJSON_AddStringToObject(s, "Image", c->image);
	cJSON_AddItemToObject(s, "Entrypoint", strings((const char *[]){GUEST_PATH, "init"}, 2));
	cJSON_AddItemToObject(s, "Cmd", cJSON_CreateArray());
	/* The workdir is furnished: the engine would make it root's. */
	cJSON_AddStringToObject(s, "WorkingDir", "/");
	cJSON_AddStringToObject(s, "StopSignal", "SIGTERM");
	/* PID 1, and the guest beside it, which acts for everyone; commands say whom they run as.
	 */
	cJSON_AddStringToObject(s, "User", "0:0");
	if (in->home)
		cJSON_AddItemToArray(env, cJSON_CreateString("HOME=" GUEST_HOME));
	cJSON_AddItemToObject(s, "Env", env);
	health = cJSON_AddObjectToObject(s, "Healthcheck");
	cJSON_AddItemToObject(health, "Test", strings((const char *[]){"NONE"}, 1));
	cJSON_AddItemToObject(s, "Labels", labels(in));
	cJSON_AddItemToObject(s, "HostConfig", host_config(in));
	*ret = s;
	return 0;
}
