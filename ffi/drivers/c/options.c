/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void explain_set(dunlin_text *why, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(why->bytes, sizeof why->bytes, format, arguments);
  va_end(arguments);
}

const char *option_find(const option_set *set, const char *key) { return option_list_at(set, key, 0); }

uint32_t option_list_count(const option_set *set, const char *key) {
  uint32_t found = 0;
  for (uint32_t i = 0; i < set->count; i++) {
    found += strcmp(set->items[i].key, key) == 0;
  }
  return found;
}

const char *option_list_at(const option_set *set, const char *key, uint32_t index) {
  for (uint32_t i = 0; i < set->count; i++) {
    if (strcmp(set->items[i].key, key) == 0 && index-- == 0) {
      return set->items[i].value;
    }
  }
  return NULL;
}

int32_t option_number(const option_set *set, const char *key, double fallback, double min, double max, double *out,
                      dunlin_text *why) {
  const char *text = option_find(set, key);
  if (text == NULL) {
    *out = fallback;
    return 0;
  }
  char *end = NULL;
  double value = strtod(text, &end);
  if (end == text || *end != '\0' || !isfinite(value)) {
    explain_set(why, "%s%s: %.60s is not a number", set->where, key, text);
    return -EINVAL;
  }
  if (value < min || value > max) {
    explain_set(why, "%s%s: %.60s is outside %g to %g", set->where, key, text, min, max);
    return -EINVAL;
  }
  *out = value;
  return 0;
}

int32_t option_integer(const option_set *set, const char *key, int64_t fallback, int64_t min, int64_t max,
                       int64_t *out, dunlin_text *why) {
  const char *text = option_find(set, key);
  if (text == NULL) {
    *out = fallback;
    return 0;
  }
  const char *digits = *text == '-' ? text + 1 : text;
  int base = strncmp(digits, "0x", 2) == 0 ? 16 : 10; /* base 0 would read 010 as octal */
  char *end = NULL;
  errno = 0;
  long long value = strtoll(text, &end, base);
  if (end == text || *end != '\0' || errno != 0 || *digits < '0' || *digits > '9') {
    explain_set(why, "%s%s: %.60s is not an integer", set->where, key, text);
    return -EINVAL;
  }
  if (value < min || value > max) {
    explain_set(why, "%s%s: %.60s is outside %lld to %lld", set->where, key, text, (long long)min, (long long)max);
    return -EINVAL;
  }
  *out = value;
  return 0;
}

int32_t option_choice(const option_set *set, const char *key, const char *const *names, size_t name_count,
                      size_t fallback, size_t *out, dunlin_text *why) {
  const char *text = option_find(set, key);
  *out = fallback;
  if (text == NULL) {
    return 0;
  }
  for (size_t i = 0; i < name_count; i++) {
    if (strcmp(text, names[i]) == 0) {
      *out = i;
      return 0;
    }
  }
  char list[160] = "";
  for (size_t i = 0, used = 0; i < name_count && used < sizeof list - 1; i++) {
    int wrote = snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ", names[i]);
    used += wrote > 0 ? (size_t)wrote : 0;
  }
  explain_set(why, "%s%s: %.40s is none of %s", set->where, key, text, list);
  return -EINVAL;
}

int32_t option_flag(const option_set *set, const char *key, bool fallback, bool *out, dunlin_text *why) {
  static const char *const names[] = {"false", "true"};
  size_t index = 0;
  int32_t status = option_choice(set, key, names, COUNT_OF(names), fallback ? 1 : 0, &index, why);
  *out = index == 1;
  return status;
}

int32_t option_copy(const option_set *set, const char *key, const char *fallback, char *out, size_t cap,
                    dunlin_text *why) {
  const char *text = option_find(set, key);
  text = text == NULL ? fallback : text;
  if (text == NULL) {
    explain_set(why, "%s%s: is missing", set->where, key);
    return -EINVAL;
  }
  size_t length = strlen(text);
  if (length + 1 > cap) {
    explain_set(why, "%s%s: %.40s... is longer than %zu bytes", set->where, key, text, cap - 1);
    return -EINVAL;
  }
  memcpy(out, text, length + 1);
  return 0;
}

int32_t option_channel_name(const option_set *set, const char *key, const char *fallback, char *out, size_t cap,
                            dunlin_text *why) {
  int32_t status = option_copy(set, key, fallback, out, cap, why);
  if (status != 0) {
    return status;
  }
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
  if (*out == '\0' || out[strspn(out, alphabet)] != '\0') {
    explain_set(why, "%s%s: '%.60s' is not a channel name (letters, digits, _ . -)", set->where, key, out);
    return -EINVAL;
  }
  return 0;
}

int32_t option_table_parse(option_table *table, const char *key, uint32_t index, const char *value,
                           const char *const *allowed, size_t allowed_count, dunlin_text *why) {
  (void)snprintf(table->where, sizeof table->where, "%s[%u] ", key, index);
  table->set = (option_set){table->fields, 0, table->where};
  size_t length = strlen(value);
  if (length + 1 > sizeof table->text) {
    explain_set(why, "%sis longer than %u bytes", table->where, TABLE_BYTES - 1);
    return -EINVAL;
  }
  memcpy(table->text, value, length + 1);
  char *rest = table->text;
  while (rest != NULL && *rest != '\0') {
    char *field = strsep(&rest, ",");
    char *equals = strchr(field, '=');
    if (equals == NULL) {
      explain_set(why, "%s'%.60s' is not key=value", table->where, field);
      return -EINVAL;
    }
    *equals = '\0';
    bool known = false;
    for (size_t i = 0; i < allowed_count && !known; i++) {
      known = strcmp(field, allowed[i]) == 0;
    }
    if (!known || option_find(&table->set, field) != NULL || table->set.count == TABLE_FIELDS) {
      explain_set(why, "%s'%.60s' is %s", table->where, field, known ? "given twice" : "not a known key");
      return -EINVAL;
    }
    table->fields[table->set.count++] = (dunlin_option){field, equals + 1};
  }
  return 0;
}
