/* The part of the C library that generated bindings use; `dermaga.c` has it. */
#ifndef DERMAGA_STRING_H
#define DERMAGA_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);

#endif
