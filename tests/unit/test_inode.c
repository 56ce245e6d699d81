/* The inode table: numbers, lookup counts, generations. */
#include "inode.h"
#include "test.h"

static unsigned freed;

static void node_free(struct bk_node *node)
{
	freed++;
	free(node);
}

static const struct bk_ops ops = {.type = "test", .node_free = node_free};
static struct bk bk = {.ops = &ops};

static struct bk_node *new_node(void)
{
	struct bk_node *node = calloc(1, sizeof(*node));

	CHECK(node);
	bk_node_init(node, &bk);
	return node;
}

static void a_node_has_one_number_until_it_is_forgotten_as_often_as_it_was_looked_up(void)
{
	struct inode_table t;
	struct inode_id root, a, again, gone;
	struct bk_node *node = new_node(), *found;

	CHECK_EQ(inode_init(&t, new_node(), 100), 0);
	found = inode_get(&t, INODE_ROOT);
	CHECK_EQ(inode_add(&t, found, &root), 0);
	CHECK_EQ(root.number, INODE_ROOT);
	CHECK_EQ(inode_add(&t, bk_node_ref(node), &a), 0);
	CHECK_EQ(inode_add(&t, bk_node_ref(node), &again), 0);
	CHECK_EQ(a.number, again.number);
	CHECK_EQ(a.generation, again.generation);
	found = inode_get(&t, a.number);
	CHECK(found == node);
	bk_node_unref(found);
	inode_forget(&t, a.number, 1, NULL);
	CHECK_EQ(node->front, a.number);
	inode_forget(&t, a.number, 1, NULL);
	CHECK_EQ(node->front, 0);
	CHECK(!inode_get(&t, a.number));

	CHECK_EQ(inode_add(&t, node, &again), 0);
	CHECK_EQ(again.number, a.number);
	CHECK(again.generation != a.generation);
	CHECK(inode_is_known(&t, &again) && !inode_is_known(&t, &a));
	freed = 0;
	CHECK(inode_forget(&t, again.number, 1000, &gone));
	CHECK_EQ(freed, 1);
	CHECK(gone.number == again.number && gone.generation == again.generation);
	CHECK(!inode_is_known(&t, &again));
	inode_done(&t);
	CHECK_EQ(freed, 2);
}

static void the_root_and_unknown_numbers_are_not_forgotten(void)
{
	struct inode_table t;
	struct bk_node *root;

	CHECK_EQ(inode_init(&t, new_node(), 100), 0);
	CHECK(!inode_forget(&t, INODE_ROOT, 5, NULL));
	CHECK(!inode_forget(&t, 0, 1, NULL));
	inode_forget(&t, 2, 1, NULL);
	inode_forget(&t, UINT64_MAX, 1, NULL);
	CHECK(!inode_get(&t, 0));
	CHECK(!inode_get(&t, UINT64_MAX));
	root = inode_get(&t, INODE_ROOT);
	CHECK(root);
	bk_node_unref(root);
	inode_done(&t);
}

static void a_full_table_says_so_and_keeps_nothing(void)
{
	struct inode_table t;
	struct inode_id id;

	CHECK_EQ(inode_init(&t, new_node(), 2), 0);
	CHECK_EQ(inode_add(&t, new_node(), &id), 0);
	freed = 0;
	CHECK_EQ(inode_add(&t, new_node(), &id), -ENFILE);
	CHECK_EQ(freed, 1);
	inode_forget(&t, id.number, 1, NULL);
	CHECK_EQ(inode_add(&t, new_node(), &id), 0);
	inode_done(&t);
}

static void many_nodes_leave_their_slots_to_the_next(void)
{
	enum { N = 5000 };
	struct inode_table t;
	struct inode_id id[N];
	size_t chunks = 0;

	CHECK_EQ(inode_init(&t, new_node(), UINT32_MAX), 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++)
			CHECK_EQ(inode_add(&t, new_node(), &id[i]), 0);
		CHECK_EQ(inode_count(&t), N + 1);
		if (round == 0)
			chunks = t.n_chunks;
		CHECK_EQ(t.n_chunks, chunks);
		for (int i = 0; i < N; i++)
			inode_forget(&t, id[i].number, 1, NULL);
		CHECK_EQ(inode_count(&t), 1);
	}
	inode_done(&t);
}

static void another_era_has_the_number_but_not_the_generation(void)
{
	struct inode_table t;
	struct inode_id a, b, c, root;
	struct bk_node *node = new_node(), *top = new_node(), *found;

	CHECK_EQ(inode_init(&t, top, 10), 0);
	CHECK_EQ(inode_told(&t, node, &a), -ESTALE);
	CHECK_EQ(inode_add(&t, bk_node_ref(node), &a), 0);
	CHECK_EQ(inode_add(&t, bk_node_ref(node), &b), 0);
	CHECK_EQ(inode_told(&t, node, &b), 0);
	CHECK(b.number == a.number && b.generation == a.generation);

	atomic_fetch_add(&node->era, 1);
	CHECK_EQ(inode_told(&t, node, &b), -ESTALE);
	found = inode_get(&t, a.number); /* what the kernel has still finds its node */
	CHECK(found == node);
	bk_node_unref(found);
	CHECK_EQ(inode_add(&t, bk_node_ref(node), &b), 0);
	CHECK(b.number == a.number && b.generation != a.generation);
	CHECK_EQ(inode_told(&t, node, &c), 0);
	CHECK_EQ(c.generation, b.generation);
	CHECK_EQ(inode_add(&t, bk_node_ref(node), &c), 0);
	CHECK_EQ(c.generation, b.generation);

	/* The old inode's lookups and the new one's are all of the number. */
	inode_forget(&t, a.number, 2, NULL);
	CHECK_EQ(node->front, a.number);
	inode_forget(&t, a.number, 2, NULL);
	CHECK_EQ(node->front, 0);
	CHECK_EQ(inode_add(&t, node, &c), 0);
	CHECK(c.generation != a.generation && c.generation != b.generation);

	atomic_fetch_add(&top->era, 1);
	CHECK_EQ(inode_told(&t, top, &root), 0);
	a = root;
	CHECK_EQ(inode_add(&t, bk_node_ref(top), &root), 0);
	CHECK_EQ(root.generation, a.generation);
	inode_done(&t);
}

static void numbers_of_one_backend_are_listed_in_steps(void)
{
	static struct bk other = {.ops = &ops};
	struct inode_table t;
	struct inode_id id;
	uint64_t at = 0, numbers[3];

	CHECK_EQ(inode_init(&t, new_node(), 10), 0);
	for (int i = 0; i < 8; i++) {
		struct bk_node *node = new_node();

		node->bk = i % 2 ? &other : &bk;
		CHECK_EQ(inode_add(&t, node, &id), 0);
	}
	CHECK_EQ(inode_list(&t, &other, &at, numbers, 3), 3);
	CHECK(numbers[0] == 3 && numbers[1] == 5 && numbers[2] == 7);
	CHECK_EQ(inode_list(&t, &other, &at, numbers, 3), 1);
	CHECK_EQ(numbers[0], 9);
	CHECK_EQ(inode_list(&t, &other, &at, numbers, 3), 0);
	inode_done(&t);
}

int main(void)
{
	another_era_has_the_number_but_not_the_generation();
	numbers_of_one_backend_are_listed_in_steps();
	a_node_has_one_number_until_it_is_forgotten_as_often_as_it_was_looked_up();
	the_root_and_unknown_numbers_are_not_forgotten();
	a_full_table_says_so_and_keeps_nothing();
	many_nodes_leave_their_slots_to_the_next();
	return 0;
}
