/* The part of the C library that generated bindings use; `dermaga.c` has it. */
#ifndef DERMAGA_STDLIB_H
#define DERMAGA_STDLIB_H

#include <stddef.h>

void *malloc(size_t size);
void *realloc(void *old, size_t size);
/* Does nothing: every call of a plugin has a fresh instance, whose memory goes with it. */
void free(void *memory);
_Noreturn void abort(void);

#endif
