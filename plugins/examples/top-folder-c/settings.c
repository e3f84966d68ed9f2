#include "settings.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

const char settings_schema[] =
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"label\":{\"type\":\"string\",\"default\":\"folder\",\"pattern\":\"^[a-z0-9_.-]{1,64}$\","
    "\"description\":\"The key of the label.\"},"
    "\"skip\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"default\":[],"
    "\"description\":\"Folders whose events are discarded.\"}}}";

// Where the reader is. The JSON comes from the host, so it is well formed: what is checked here is
// whether it is what this filter understands.
struct reader {
  const char *at;
  const char *end;
};

static char peek(struct reader *reader) {
  while (reader->at < reader->end && strchr(" \t\r\n", *reader->at)) reader->at++;
  return reader->at < reader->end ? *reader->at : '\0';
}

static bool take(struct reader *reader, char wanted) {
  if (peek(reader) != wanted) return false;
  reader->at++;
  return true;
}

static void *allocate(size_t size) {
  void *memory = malloc(size > 0 ? size : 1);
  if (memory == NULL) abort();
  return memory;
}

static uint32_t hexadecimal(struct reader *reader) {
  uint32_t value = 0;
  for (int digit = 0; digit < 4 && reader->at < reader->end; digit++) {
    char c = *reader->at++;
    value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return value;
}

// Writes a character as UTF-8, and returns where it ends.
static char *utf8(char *to, uint32_t character) {
  if (character < 0x80) {
    *to++ = (char)character;
    return to;
  }
  int more = character < 0x800 ? 1 : character < 0x10000 ? 2 : 3;
  *to++ = (char)(0xf00u >> more | character >> (6 * more));
  while (more-- > 0) *to++ = (char)(0x80 | (character >> (6 * more) & 0x3f));
  return to;
}

static char *escape(struct reader *reader, char *to) {
  static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
  char letter = *reader->at++;
  if (letter == 'u') {
    uint32_t character = hexadecimal(reader);
    if (character >> 10 == 0xd800 >> 10 && reader->end - reader->at >= 6) {
      reader->at += 2;  // the \u of the second half of a surrogate pair
      character = 0x10000 + ((character & 0x3ff) << 10 | (hexadecimal(reader) & 0x3ff));
    }
    return utf8(to, character);
  }
  const char *found = strchr(letters, letter);
  *to++ = found != NULL ? meanings[found - letters] : letter;
  return to;
}

static bool read_text(struct reader *reader, struct text *text) {
  if (!take(reader, '"')) return false;
  // No character is longer than what it is written as.
  char *to = text->bytes = allocate((size_t)(reader->end - reader->at) + 1);
  while (reader->at < reader->end && *reader->at != '"') {
    char byte = *reader->at++;
    if (byte == '\\') to = escape(reader, to);
    else *to++ = byte;
  }
  *to = '\0';
  text->length = (size_t)(to - text->bytes);
  return take(reader, '"');
}

static bool is_label_key(const struct text *text) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_-.";
  return text->length > 0 && text->length <= 64 && strspn(text->bytes, allowed) == text->length;
}

// The concatenation of two texts.
static char *join(const char *first, const char *second) {
  size_t length = strlen(first);
  char *joined = allocate(length + strlen(second) + 1);
  memcpy(joined, first, length);
  strcpy(joined + length, second);
  return joined;
}

static bool wrong(struct settings_error *error, const char *key, const char *message) {
  error->pointer = join(key[0] == '\0' ? "" : "/", key);
  error->message = join(message, "");
  return false;
}

static bool read_skip(struct reader *reader, struct settings *settings) {
  if (!take(reader, '[')) return false;
  if (take(reader, ']')) return true;
  do {
    size_t size = (settings->skip_count + 1) * sizeof(struct text);
    settings->skip = realloc(settings->skip, size);
    if (settings->skip == NULL) abort();
    if (!read_text(reader, &settings->skip[settings->skip_count++])) return false;
  } while (take(reader, ','));
  return take(reader, ']');
}

bool settings_read(const char *json, size_t length, struct settings *settings,
                   struct settings_error *error) {
  static char folder[] = "folder";
  *settings = (struct settings){.label = {folder, sizeof folder - 1}};
  struct reader reader = {json, json + length};
  if (!take(&reader, '{')) return wrong(error, "", "settings are a table");
  if (take(&reader, '}')) return true;
  do {
    struct text key;
    if (!read_text(&reader, &key) || !take(&reader, ':')) return wrong(error, "", "no JSON");
    if (strcmp(key.bytes, "label") == 0) {
      if (!read_text(&reader, &settings->label) || !is_label_key(&settings->label))
        return wrong(error, "label", "must be 1 to 64 characters of a-z, 0-9, _, - and .");
    } else if (strcmp(key.bytes, "skip") == 0) {
      if (!read_skip(&reader, settings)) return wrong(error, "skip", "must be an array of texts");
    } else {
      return wrong(error, key.bytes, "unknown key; there are `label` and `skip`");
    }
    free(key.bytes);
  } while (take(&reader, ','));
  return true;
}
