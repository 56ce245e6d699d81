/*
 * A docker or container route of a real engine and connections to its guest, for test programs:
 * AIB_TEST_IMAGE names the image of a container to make, or AIB_TEST_CONTAINER one that runs;
 * AIB_TEST_GUEST says where aib-guest is; AIB_TEST_WAY is the way to take: "auto" (as without it),
 * "stream" or "direct". DOCKER_HOST is the engine.
 */
#ifndef AIB_TEST_GUEST_WORLD_H
#define AIB_TEST_GUEST_WORLD_H

#include "docker/docker.h"
#include "docker/guest.h"

/* The prepared route, with that `transport`; its messages go to standard error at WARNING
 * (AIB_TEST_DEBUG: all). */
struct docker *world_route(const char *transport);
/* The node of its workdir as BK shows it, with a reference. */
struct bk_node *world_workspace(struct bk *bk);
/* A new directory in WORKSPACE, "test-1" and on, with a reference. */
struct bk_node *world_directory(struct bk_node *workspace);
enum guest_way world_way(void);
/* Connect that way, with 60 s; the text of a failure goes to standard error. */
int world_connect(struct docker *d, struct guest **ret);

#endif
