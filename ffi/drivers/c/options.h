/* SPDX-License-Identifier: MIT OR Apache-2.0
 * Typed look-up of options, and of the `key=value,key=value` tables inside list options. The host checks options
 * against the specs before open; drivers check again because a vendor's own host may not, and table entries are
 * checked here alone. */
#ifndef DUNLIN_DRIVERS_OPTIONS_H
#define DUNLIN_DRIVERS_OPTIONS_H

#include <dunlin/driver.h>
#include <stdbool.h>
#include <stddef.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Options of a device, or fields of one table entry: `where` names it in explanations, e.g. "registers[3] ". */
typedef struct option_set {
  const dunlin_option *items;
  uint32_t count;
  const char *where;
} option_set;

#define TABLE_BYTES 512u
#define TABLE_FIELDS 24u

/* One table entry, cut into fields that point into its own copy of the text. Must not be copied by value. */
typedef struct option_table {
  char text[TABLE_BYTES];
  char where[48];
  dunlin_option fields[TABLE_FIELDS];
  option_set set;
} option_table;

void explain_set(dunlin_text *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Each returns 0, or -EINVAL with the reason in *why. An absent key yields the fallback. */
int32_t option_number(const option_set *set, const char *key, double fallback, double min, double max, double *out,
                      dunlin_text *why);
int32_t option_integer(const option_set *set, const char *key, int64_t fallback, int64_t min, int64_t max,
                       int64_t *out, dunlin_text *why);
int32_t option_flag(const option_set *set, const char *key, bool fallback, bool *out, dunlin_text *why);
/* Index of the value in names, or the fallback. */
int32_t option_choice(const option_set *set, const char *key, const char *const *names, size_t name_count,
                      size_t fallback, size_t *out, dunlin_text *why);
/* Copies; the value must fit in cap with its NUL. A NULL fallback makes the key required. */
int32_t option_copy(const option_set *set, const char *key, const char *fallback, char *out, size_t cap,
                    dunlin_text *why);
/* As option_copy, and holds the value to the channel alphabet [A-Za-z0-9_.-]. */
int32_t option_channel_name(const option_set *set, const char *key, const char *fallback, char *out, size_t cap,
                            dunlin_text *why);

/* First value of key, or NULL. */
const char *option_find(const option_set *set, const char *key);
/* How often key was given, and the value of its index-th element (NULL past the end). */
uint32_t option_list_count(const option_set *set, const char *key);
const char *option_list_at(const option_set *set, const char *key, uint32_t index);

/* Cuts the index-th element of a list option into fields; refuses unknown and repeated keys. */
int32_t option_table_parse(option_table *table, const char *key, uint32_t index, const char *value,
                           const char *const *allowed, size_t allowed_count, dunlin_text *why);

#endif
