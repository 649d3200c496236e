/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base: what every module stands on.
 *
 * Purpose: attributes, ownership helpers, the error object, logging, strings, containers, time,
 * small encoders and the registries behind `coracle show` and /metrics.
 * Lifetime: nothing here needs starting; logging works from the first line of main().
 * Order: none. No function here blocks, apart from reading and writing whole small files.
 *
 * Conventions of the whole tree: functions return 0 or a negative errno unless said otherwise;
 * what a user will read is told through `struct err *err`, always the last parameter and always
 * allowed to be NULL. Allocation failure of our own small objects aborts (the x* functions);
 * every size that a peer chooses is bounded before it is allocated.
 */
#ifndef CORACLE_BASE_H
#define CORACLE_BASE_H

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

/* ---- attributes ------------------------------------------------------------------------- */

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED __attribute__((unused))
#define NORETURN __attribute__((noreturn))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* ---- ownership -------------------------------------------------------------------------- */

/* Defines auto_<name>: a local `type` variable that is released by fn(value) at scope end. */
#define DEFINE_AUTO(name, type, fn)                                                                \
	static inline UNUSED void auto_##name##_cleanup(type *p)                                   \
	{                                                                                          \
		if (*p)                                                                            \
			fn(*p);                                                                    \
	}                                                                                          \
	struct auto_##name##_semicolon

void cleanup_free(void *pp);
void cleanup_fd(int *fd);
void cleanup_file(FILE **f);
void cleanup_dir(DIR **d);

#define auto_free __attribute__((cleanup(cleanup_free)))
#define auto_fd __attribute__((cleanup(cleanup_fd)))
#define auto_file __attribute__((cleanup(cleanup_file)))
#define auto_dir __attribute__((cleanup(cleanup_dir)))
#define auto_clean(name) __attribute__((cleanup(auto_##name##_cleanup)))

/* Hands the pointer (or descriptor) over and leaves NULL (or -1) behind. */
#define steal_ptr(p)                                                                               \
	({                                                                                         \
		__typeof__(p) steal_tmp_ = (p);                                                    \
		(p) = NULL;                                                                        \
		steal_tmp_;                                                                        \
	})
static inline int steal_fd(int *fd)
{
	int tmp = *fd;
	*fd = -1;
	return tmp;
}

/* Closes fd unless it is negative; errno is kept; returns -1 for `fd = fd_close(fd)`. */
int fd_close(int fd);

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
/* NULL stays NULL. */
char *xstrdup_null(const char *s);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((malloc, returns_nonnull));
char *xvasprintf(const char *fmt, va_list ap) PRINTF_LIKE(1, 0)
	__attribute__((malloc, returns_nonnull));
#define xnew(type) ((type *)xcalloc(1, sizeof(type)))

/* ---- errors ----------------------------------------------------------------------------- */

/* The reason is what a Kubernetes client sees as Status.reason; err_http_code() gives its code. */
enum err_reason {
	ERR_UNKNOWN, /* "" 500 */
	ERR_BAD_REQUEST,
	ERR_UNAUTHORIZED,
	ERR_FORBIDDEN,
	ERR_NOT_FOUND,
	ERR_METHOD_NOT_ALLOWED,
	ERR_NOT_ACCEPTABLE,
	ERR_ALREADY_EXISTS,
	ERR_CONFLICT,
	ERR_GONE,
	ERR_EXPIRED,
	ERR_INVALID,
	ERR_REQUEST_TOO_LARGE,
	ERR_UNSUPPORTED_MEDIA_TYPE,
	ERR_TOO_MANY_REQUESTS,
	ERR_INTERNAL,
	ERR_SERVICE_UNAVAILABLE,
	ERR_SERVER_TIMEOUT,
	ERR_TIMEOUT,
	ERR_INSUFFICIENT_STORAGE,
	ERR_REASON_COUNT,
};

/* One entry of Status.details.causes. */
struct err_cause {
	const char *reason; /* static: "FieldValueRequired", "FieldValueInvalid", ... */
	char *field;	    /* "spec.containers[0].image", or NULL */
	char *message;	    /* "Required value" */
};

/*
 * What went wrong, in the words a user reads. Zero-initialise (`struct err err = {0};`), release
 * with err_done() (or `auto_err`). `details_*` fill Status.details; the API layer completes them.
 */
struct err {
	enum err_reason reason;
	int code;	 /* HTTP code when it differs from the reason's usual one, else 0 */
	char *message;	 /* NULL: no error has been set */
	char *kind;	 /* details.kind: resource plural, or Kind for ERR_INVALID */
	char *group;	 /* details.group */
	char *name;	 /* details.name */
	char *uid;	 /* details.uid */
	int retry_after; /* details.retryAfterSeconds, seconds; 0: none */
	struct err_cause *causes;
	size_t n_causes;
};

/* Sets reason and message (replacing an earlier one) and returns -errno of the reason. */
int err_set(struct err *err, enum err_reason reason, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Same for a failed system call: message is "<text>: <strerror>", returns -code. code > 0. */
int err_errno(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Puts "<text>: " in front of the message; returns ret, so that callers write return err_wrap(...).
 */
int err_wrap(struct err *err, int ret, const char *fmt, ...) PRINTF_LIKE(3, 4);
void err_cause_add(struct err *err, const char *reason, const char *field, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* Fills details.{kind,group,name} where they are still empty. Any may be NULL. */
void err_about(struct err *err, const char *kind, const char *group, const char *name);
void err_copy(struct err *dst, const struct err *src);
void err_done(struct err *err);
int err_http_code(const struct err *err);
const char *err_reason_name(enum err_reason reason);
/* The message, or "unknown error"; never NULL. */
const char *err_message(const struct err *err);
#define auto_err __attribute__((cleanup(err_done))) struct err

/* ---- log -------------------------------------------------------------------------------- */

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* One line to stderr; with "<N>" priorities when stderr is the journal (systemd, sd-daemon(3)). */
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* "error" "warn" "info" "debug"; -EINVAL for others. */
int log_level_parse(const char *text, enum log_level *ret) MUST_CHECK;
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_get_level() >= LOG_LEVEL_DEBUG)                                            \
			log_write(LOG_LEVEL_DEBUG, __VA_ARGS__);                                   \
	} while (0)

/* ---- strings ---------------------------------------------------------------------------- */

#define streq(a, b) (strcmp((a), (b)) == 0)
/* NULL-safe: two NULLs are equal. */
bool str_eq(const char *a, const char *b);
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
static inline bool str_empty(const char *s)
{
	return !s || !*s;
}
/* Whole-string integers; -EINVAL on junk, -ERANGE outside [min,max]. */
int str_to_i64(const char *s, int64_t min, int64_t max, int64_t *ret) MUST_CHECK;
int str_to_u64(const char *s, uint64_t max, uint64_t *ret) MUST_CHECK;

/* A growing byte string, always NUL-terminated once it holds anything. Zero-initialise. */
struct strbuf {
	char *s;
	size_t len;
	size_t cap;
};
void strbuf_add(struct strbuf *b, const void *data, size_t len);
void strbuf_adds(struct strbuf *b, const char *s);
void strbuf_addc(struct strbuf *b, char c);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void strbuf_vaddf(struct strbuf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
void strbuf_reset(struct strbuf *b); /* length 0, memory kept */
/* Hands the string over ("" when empty), leaves the buffer empty. */
char *strbuf_steal(struct strbuf *b);
void strbuf_done(struct strbuf *b);
#define auto_strbuf __attribute__((cleanup(strbuf_done))) struct strbuf

/* A NULL-terminated vector of owned strings. Zero-initialise. */
struct strv {
	char **v;
	size_t n;
};
void strv_add(struct strv *l, const char *s);
void strv_take(struct strv *l, char *s);
void strv_addf(struct strv *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool strv_has(const struct strv *l, const char *s);
/* Splits at every sep; empty pieces are dropped. */
void strv_split(struct strv *l, const char *s, char sep);
void strv_done(struct strv *l);
#define auto_strv __attribute__((cleanup(strv_done))) struct strv

/* ---- intrusive doubly linked list ------------------------------------------------------- */

struct list {
	struct list *next, *prev;
};
#define LIST_INIT(name)                                                                            \
	{                                                                                          \
		&(name), &(name)                                                                   \
	}
static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}
static inline void list_add_tail(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}
static inline void list_add_head(struct list *head, struct list *node)
{
	list_add_tail(head->next, node);
}
/* Unlinks and leaves the node pointing to itself: may be called twice. */
static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}
#define list_entry(ptr, type, member) container_of(ptr, type, member)
/* The current entry may be removed inside the body. */
#define list_foreach(head, var, type, member)                                                      \
	for (struct list *it_##var = (head)->next, *nx_##var = it_##var->next; it_##var != (head); \
	     it_##var = nx_##var, nx_##var = it_##var->next)                                       \
		for (type *var = list_entry(it_##var, type, member); var; var = NULL)

/* ---- string-keyed hash map -------------------------------------------------------------- */

/* Open hash of owned keys to borrowed values. Zero-initialise. Values may not be NULL. */
struct map_slot {
	char *key; /* NULL: never used; map_tombstone: deleted */
	void *value;
};
struct map {
	struct map_slot *slots;
	size_t cap, used, n; /* used counts tombstones, n does not */
};
void *map_get(const struct map *m, const char *key);
/* Returns the value it replaced, or NULL. */
void *map_put(struct map *m, const char *key, void *value);
/* Returns the removed value, or NULL. */
void *map_del(struct map *m, const char *key);
/* Iteration: size_t i = 0; while (map_next(m, &i, &key, &value)) ...; deleting is allowed in it. */
bool map_next(const struct map *m, size_t *i, const char **key, void **value);
void map_done(struct map *m);

uint32_t hash_fnv1a32(const void *data, size_t len, uint32_t seed); /* seed: 2166136261 to start */

/* ---- time ------------------------------------------------------------------------------- */

/* Durations are microseconds in a uint64_t named *_us; points in time are mono_t. */
#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)

/* CLOCK_BOOTTIME (counts sleep, never steps), in its own type so that it never meets wall time. */
typedef struct {
	uint64_t us;
} mono_t;
mono_t mono_now(void);
static inline mono_t mono_add(mono_t t, uint64_t us)
{
	return (mono_t){t.us + us};
}
/* a - b in microseconds, 0 when b is later. */
static inline uint64_t mono_sub(mono_t a, mono_t b)
{
	return a.us > b.us ? a.us - b.us : 0;
}
static inline bool mono_before(mono_t a, mono_t b)
{
	return a.us < b.us;
}

#define TIME_RFC3339_MAX sizeof("2026-01-02T03:04:05.123456789Z")
/* Wall clock as Kubernetes writes it: metav1.Time (seconds), MicroTime, and RFC3339Nano (logs). */
char *time_format(char buf[static TIME_RFC3339_MAX], time_t t);
char *time_format_micro(char buf[static TIME_RFC3339_MAX], struct timespec ts);
char *time_format_nano(char buf[static TIME_RFC3339_MAX], struct timespec ts);
/* RFC 3339 with or without fraction and offset; -EINVAL otherwise. */
int time_parse(const char *s, struct timespec *ret) MUST_CHECK;

/* ---- long computing ---------------------------------------------------------------------- */

/*
 * Computing whose length a peer chooses says breathe() at every value, field or node. On a stack of
 * its own (the loop's tasks) it may be put aside there so that others get their turn; everywhere
 * else this is a decrement. What has been borrowed stays while it is aside; what was looked up in
 * something that changes has to be looked up again.
 */
extern unsigned breath_left;
void breath_take(void);
static inline void breathe(void)
{
	if (__builtin_expect(--breath_left == 0, 0))
		breath_take();
}
/* The same where n bytes have been gone over, BREATH_BYTES at most at a time. */
#define BREATH_BYTES (64U << 10)
static inline void breathe_bytes(size_t n)
{
	if (n >= BREATH_BYTES)
		breath_take();
	else
		breathe();
}
/* memcpy(3) of what may be megabytes. */
void breathe_copy(void *to, const void *from, size_t len);
/* The same before a step that takes microseconds (a system call): the clock is asked at once. */
static inline void breathe_deep(void)
{
	breath_take();
}
/* Nothing is put aside between the two; they nest. For what must see one state of the world. */
void breath_hold(void);
void breath_release(void);
/* Is this computing that may be put aside? */
bool breathing(void);
/* Calls release(ptr) when nothing that is aside now can know it any more. */
void breath_outlive(void (*release)(void *), void *ptr);
/* For the loop: what does that. NULL: nothing is ever aside. */
void breath_keeper(void (*fn)(void *arg, void (*release)(void *), void *ptr), void *arg);
/* For the loop: fn is called by breathe() now and then, until breath_end(). */
void breath_begin(void (*fn)(void));
void breath_end(void);

/* ---- files, encodings, random ----------------------------------------------------------- */

/* Reads a whole file of at most max bytes (-EFBIG); NUL-terminated, caller frees. */
int file_read(const char *path, size_t max, char **ret, size_t *ret_len) MUST_CHECK;
int file_read_at(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len) MUST_CHECK;
/* Writes path.tmp, optionally fsyncs, renames over path. */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode,
		      bool sync) MUST_CHECK;
int mkdir_p(const char *path, mode_t mode) MUST_CHECK;
/* Removes a tree; follows no link, stays on its file system (does not cross mounts). -ENOENT is 0.
 */
int rm_rf(const char *path);
/* Joins with one "/" between; caller frees. */
char *path_join(const char *dir, const char *name);

char *base64_encode(const void *data, size_t len); /* RFC 4648 section 4; caller frees */
/* -EINVAL on malformed text. *ret is NUL-terminated too; caller frees. */
int base64_decode(const char *text, size_t text_len, unsigned char **ret,
		  size_t *ret_len) MUST_CHECK;
#define SHA256_LEN 32
void sha256(const void *data, size_t len, unsigned char out[static SHA256_LEN]);
/* Lower-case hex of SHA-256 into a 65 byte buffer. */
void sha256_hex(const void *data, size_t len, char out[static 65]);

void random_bytes(void *buf, size_t len); /* getrandom(2); aborts when there is none */
/* n characters of Kubernetes' name alphabet "bcdfghjklmnpqrstvwxz2456789", NUL-terminated. */
void random_suffix(char *buf, size_t n);
#define UUID_LEN 37
void random_uuid(char buf[static UUID_LEN]); /* RFC 9562 version 4 */

/* ---- figures for /metrics --------------------------------------------------------------- */

/* Appends the figures of one module in Prometheus' text format. */
typedef void metrics_fn(void *arg, struct strbuf *out);
/* name is static; whoever comes later with the same name takes its place. */
void metrics_register(const char *name, metrics_fn *fn, void *arg);
void metrics_unregister(const char *name);
/* The process' own figures, then those of everybody registered. */
void metrics_collect(struct strbuf *out);

/* The head of a family: "counter", "gauge" or "histogram". Its figures have to follow at once. */
void metric_family(struct strbuf *out, const char *name, const char *type, const char *help);
/* One figure; labels as name, value pairs up to NULL. Values are escaped. */
void metric_put(struct strbuf *out, const char *name, double value, ...) __attribute__((sentinel));
/* A family of one figure without labels. */
void metric_one(struct strbuf *out, const char *name, const char *type, const char *help,
		double value);

#endif
