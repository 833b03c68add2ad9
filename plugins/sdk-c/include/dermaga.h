/* What a plugin in C uses beside `plugin.h`, the bindings of its world, which `dermaga plugin build`
 * makes of the contract. There is no C library: a plugin has no clock, no files and no network.
 *
 * Memory is never freed: every call has a fresh instance, whose memory goes with it. */
#ifndef DERMAGA_H
#define DERMAGA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin.h"

typedef plugin_string_t text_t;

/* A text that lies in the program, such as a literal. */
text_t text(const char *literal);

/* The texts one after the other: `TEXTS(text("30"), text("% off"))`. */
text_t text_join(size_t count, const text_t parts[]);
#define TEXTS(...) \
  text_join(sizeof((text_t[]){__VA_ARGS__}) / sizeof(text_t), (text_t[]){__VA_ARGS__})

/* For example `-1250000`. */
text_t text_number(int64_t number);

/* Rupiah as Indonesians write it: `Rp1.250.000`, and `-Rp500` for a credit. */
text_t text_rupiah(int64_t amount);

/* This percentage (0 to 100) of an amount that is not negative, rounded down once. */
int64_t rupiah_percent(int64_t amount, int64_t percent);

/* The whole number that an object has under a name. False when there is none; the host has checked
 * the text against the plugin's schema, so nothing else can be wrong with it. */
bool json_integer(text_t object, const char *name, int64_t *value);

#endif
