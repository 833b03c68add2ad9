#include "dermaga.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory: a bump allocator that never frees ---- */

#define PAGE 65536u
/* Room for the size in front of each allocation, at the alignment of the largest type. */
#define HEADER 16u

extern unsigned char __heap_base;
static uintptr_t taken;

static uintptr_t aligned(uintptr_t address) { return (address + HEADER - 1) & ~(uintptr_t)(HEADER - 1); }

void *malloc(size_t size) {
  uintptr_t start = aligned(taken == 0 ? (uintptr_t)&__heap_base : taken) + HEADER;
  uintptr_t room = __builtin_wasm_memory_size(0) * PAGE;
  if (size > UINT32_MAX - PAGE - start) abort();
  uintptr_t end = start + size;
  if (end > room && __builtin_wasm_memory_grow(0, (end - room + PAGE - 1) / PAGE) == SIZE_MAX) abort();
  *(size_t *)(start - HEADER) = size;
  taken = end;
  return (void *)start;
}

void *realloc(void *old, size_t size) {
  if (old == NULL) return malloc(size);
  size_t had = *(size_t *)((uintptr_t)old - HEADER);
  if (size <= had) return old;
  return memcpy(malloc(size), old, had);
}

void free(void *memory) { (void)memory; }

_Noreturn void abort(void) { __builtin_trap(); }

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  unsigned char *target = to;
  const unsigned char *source = from;
  for (size_t i = 0; i < size; i++) target[i] = source[i];
  return to;
}

void *memmove(void *to, const void *from, size_t size) {
  unsigned char *target = to;
  const unsigned char *source = from;
  if (target <= source) return memcpy(to, from, size);
  for (size_t i = size; i > 0; i--) target[i - 1] = source[i - 1];
  return to;
}

void *memset(void *to, int byte, size_t size) {
  unsigned char *target = to;
  for (size_t i = 0; i < size; i++) target[i] = (unsigned char)byte;
  return to;
}

int memcmp(const void *a, const void *b, size_t size) {
  const unsigned char *left = a, *right = b;
  for (size_t i = 0; i < size; i++)
    if (left[i] != right[i]) return left[i] - right[i];
  return 0;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length] != '\0') length++;
  return length;
}

/* ---- texts ---- */

text_t text(const char *literal) { return (text_t){(uint8_t *)literal, strlen(literal)}; }

text_t text_join(size_t count, const text_t parts[]) {
  size_t length = 0;
  for (size_t i = 0; i < count; i++) length += parts[i].len;
  text_t joined = {malloc(length), 0};
  for (size_t i = 0; i < count; i++) {
    memcpy(joined.ptr + joined.len, parts[i].ptr, parts[i].len);
    joined.len += parts[i].len;
  }
  return joined;
}

/* Formats a number after a prefix, with a separator (none when 0) between groups of three digits. */
static text_t digits(const char *prefix, int64_t number, char separator) {
  char reversed[32];
  size_t length = 0, count = 0;
  uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  do {
    if (separator != 0 && count > 0 && count % 3 == 0) reversed[length++] = separator;
    reversed[length++] = (char)('0' + rest % 10);
    count++;
    rest /= 10;
  } while (rest > 0);
  text_t written = {malloc(length), length};
  for (size_t i = 0; i < length; i++) written.ptr[i] = (uint8_t)reversed[length - 1 - i];
  return TEXTS(text(number < 0 ? "-" : ""), text(prefix), written);
}

text_t text_number(int64_t number) { return digits("", number, 0); }

text_t text_rupiah(int64_t amount) { return digits("Rp", amount, '.'); }

int64_t rupiah_percent(int64_t amount, int64_t percent) {
  return amount / 100 * percent + amount % 100 * percent / 100;
}

/* ---- JSON ---- */

/* A place in a JSON text that is known to be well-formed. */
typedef struct {
  const uint8_t *at, *end;
} cursor_t;

static bool skip(cursor_t *json, char wanted) {
  while (json->at < json->end && (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t'))
    json->at++;
  if (json->at == json->end || *json->at != (uint8_t)wanted) return false;
  json->at++;
  return true;
}

/* Reads from after the opening quote to after the closing one; returns the text with its escapes. */
static text_t quoted(cursor_t *json) {
  const uint8_t *start = json->at;
  while (json->at < json->end && *json->at != '"') json->at += *json->at == '\\' ? 2 : 1;
  if (json->at >= json->end) abort();
  return (text_t){(uint8_t *)start, (size_t)(json->at++ - start)};
}

/* Skips a value, to the comma or bracket after it. */
static void pass(cursor_t *json) {
  for (size_t depth = 0; json->at < json->end; json->at++) {
    switch (*json->at) {
      case '"':
        json->at++;
        quoted(json);
        json->at--;
        break;
      case '{':
      case '[':
        depth++;
        break;
      case '}':
      case ']':
        if (depth == 0) return;
        depth--;
        break;
      case ',':
        if (depth == 0) return;
    }
  }
}

static bool integer(cursor_t *json, int64_t *value) {
  bool negative = skip(json, '-');
  int64_t number = 0;
  const uint8_t *start = json->at;
  while (json->at < json->end && *json->at >= '0' && *json->at <= '9') {
    int64_t digit = *json->at++ - '0';
    if (number < (INT64_MIN + digit) / 10) return false;
    number = number * 10 - digit;
  }
  bool whole = json->at == json->end || (*json->at != '.' && *json->at != 'e' && *json->at != 'E');
  /* Counted downwards, because the smallest number has no positive counterpart. */
  if (json->at == start || !whole || (!negative && number == INT64_MIN)) return false;
  *value = negative ? number : -number;
  return true;
}

bool json_integer(text_t object, const char *name, int64_t *value) {
  cursor_t json = {object.ptr, object.ptr + object.len};
  size_t length = strlen(name);
  if (!skip(&json, '{')) return false;
  while (skip(&json, '"')) {
    text_t member = quoted(&json);
    if (!skip(&json, ':')) return false;
    while (json.at < json.end && (*json.at == ' ' || *json.at == '\n' || *json.at == '\r' || *json.at == '\t')) json.at++;
    if (member.len == length && memcmp(member.ptr, name, length) == 0) return integer(&json, value);
    pass(&json);
    skip(&json, ',');
  }
  return false;
}
