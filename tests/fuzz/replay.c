/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replays a fuzz target over its corpus, so that `make check` runs every input ever found. Without
 * arguments the corpus is $srcdir/tests/fuzz/corpus/<x> for a program named fuzz_<x>. Each input is
 * also cut short at a few places: truncation is the commonest bad input. Where libFuzzer has the
 * main function (--enable-fuzzers), calling a target without arguments still replays.
 */
#include <coracle/base.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const char *data, size_t len)
{
	/* An exact heap copy: reading one byte too far is seen by the sanitizers. */
	uint8_t *copy = xmalloc(len);

	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static int replay_file(const char *path)
{
	auto_free char *data = NULL;
	size_t len = 0;
	int r = file_read(path, 64 << 20, &data, &len);

	if (r < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(-r));
		return 0;
	}
	run(data, len);
	for (size_t i = 1; i < 8 && len > 8; i++)
		run(data, len * i / 8);
	return 1;
}

static int replay(const char *path)
{
	auto_dir DIR *d = opendir(path);
	struct dirent *e;
	int n = 0;

	if (!d)
		return replay_file(path);
	while ((e = readdir(d))) {
		auto_free char *file = path_join(path, e->d_name);

		if (*e->d_name != '.')
			n += replay_file(file);
	}
	return n;
}

static int replay_all(int argc, char **argv)
{
	const char *srcdir = getenv("srcdir");
	const char *name = strrchr(argv[0], '/');
	int n = 0;

	name = name ? name + 1 : argv[0];
	run("", 0);
	for (int i = 1; i < argc; i++)
		n += replay(argv[i]);
	if (argc < 2) {
		auto_free char *dir = xasprintf("%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".",
						str_starts(name, "fuzz_") ? name + 5 : name);

		n = replay(dir);
	}
	printf("%s: %d inputs\n", name, n);
	return n ? 0 : 1;
}

#ifdef FUZZERS
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	if (*argc < 2)
		exit(replay_all(*argc, *argv));
	return 0;
}
#else
int main(int argc, char **argv)
{
	return replay_all(argc, argv);
}
#endif
