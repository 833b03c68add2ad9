/* Helpers for plugins in C, beside `plugin.h`, the bindings that `dermaga plugin build` generates from
 * the contract. There is no C library: a plugin has no clock, no files and no network.
 *
 * Memory is never freed: every call has a fresh instance, whose memory goes with it. */
#ifndef DERMAGA_H
#define DERMAGA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin.h"

typedef plugin_string_t text_t;

/* Wraps a C string, such as a literal, without copying it. */
text_t text(const char *literal);

/* Joins texts: `TEXTS(text("30"), text("% off"))`. */
text_t text_join(size_t count, const text_t parts[]);
#define TEXTS(...) \
  text_join(sizeof((text_t[]){__VA_ARGS__}) / sizeof(text_t), (text_t[]){__VA_ARGS__})

/* Formats a number, for example `-1250000`. */
text_t text_number(int64_t number);

/* Formats rupiah as in Indonesia: `Rp1.250.000`, and `-Rp500` for a credit. */
text_t text_rupiah(int64_t amount);

/* Returns this percentage (0 to 100) of an amount that is not negative, rounded down once. */
int64_t rupiah_percent(int64_t amount, int64_t percent);

/* Reads a whole number from a JSON object by its name. Returns false when there is none; other faults
 * cannot occur, as the host has checked the text against the plugin's schema. */
bool json_integer(text_t object, const char *name, int64_t *value);

#endif
