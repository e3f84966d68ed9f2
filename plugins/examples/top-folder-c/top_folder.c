// top-folder: labels each event with the first folder of its path, so that rules can be written by
// department or project (`when.labels.folder = "finance"`), and discards the events of folders that
// nobody asks about.
//
// What a plugin answers is freed by the bindings, each string and list on its own: everything in an
// answer has to be allocated, and be its own copy (`plugin_string_dup`).

#include <stdlib.h>
#include <string.h>

#include "bindings/plugin.h"
#include "settings.h"

enum {
  KEEP = QATIME_PLUGIN_TYPES_VERDICT_KEEP,
  DISCARD = QATIME_PLUGIN_TYPES_VERDICT_DISCARD,
  ABSTAIN = QATIME_PLUGIN_TYPES_VERDICT_ABSTAIN,
  LABEL_BYTES_MAX = 1024,  // The host takes no longer value of a label.
};

// An instance has one filter, so its settings can be global.
static struct settings settings;

void exports_qatime_plugin_filter_describe(qatime_plugin_types_description_t *description) {
  plugin_string_dup(&description->name, "top-folder");
  plugin_string_dup(&description->version, "0.1.0");
  plugin_string_dup(&description->summary, "Labels events with the first folder of their path.");
  plugin_string_dup(&description->settings_schema, settings_schema);
}

bool exports_qatime_plugin_filter_init(plugin_string_t *json,
                                       exports_qatime_plugin_filter_list_config_error_t *errors) {
  struct settings_error error;
  bool right = settings_read((const char *)json->ptr, json->len, &settings, &error);
  plugin_string_free(json);
  if (right) return true;
  errors->len = 1;
  errors->ptr = malloc(sizeof *errors->ptr);
  if (errors->ptr == NULL) abort();
  plugin_string_dup(&errors->ptr->pointer, error.pointer);
  plugin_string_dup(&errors->ptr->message, error.message);
  return false;
}

// The first folder of a path: `projects` of `/projects/a/b`. Empty where there is none.
static struct text first_folder(uint8_t *path, size_t length) {
  size_t start = 0;
  while (start < length && path[start] == '/') start++;
  size_t end = start;
  while (end < length && path[end] != '/') end++;
  return (struct text){(char *)path + start, end - start};
}

static bool is_skipped(struct text folder) {
  for (size_t i = 0; i < settings.skip_count; i++) {
    struct text skip = settings.skip[i];
    if (skip.length == folder.length && memcmp(skip.bytes, folder.bytes, skip.length) == 0)
      return true;
  }
  return false;
}

// Whether bytes are UTF-8, as the value of a label has to be: the host ends an instance that says
// that other bytes are a string.
static bool is_utf8(struct text text) {
  const uint8_t *at = (const uint8_t *)text.bytes, *end = at + text.length;
  while (at < end) {
    uint8_t first = *at++;
    if (first < 0x80) continue;
    int more = first >= 0xc2 && first < 0xe0 ? 1 : first >> 4 == 0xe ? 2 : first >> 3 == 0x1e ? 3 : 0;
    if (more == 0 || end - at < more) return false;
    uint32_t character = first & (0x3fu >> more);
    for (int i = 0; i < more; i++, at++) {
      if (*at >> 6 != 2) return false;
      character = character << 6 | (*at & 0x3fu);
    }
    bool surrogate = character >> 11 == 0xd800 >> 11;
    bool overlong = character < (more == 2 ? 0x800u : more == 3 ? 0x10000u : 0u);
    if (surrogate || overlong || character > 0x10ffff) return false;
  }
  return true;
}

// The verdict on one path, and its label where it gets one.
static qatime_plugin_types_verdict_t judge(struct text folder, uint32_t index,
                                           qatime_plugin_types_list_label_t *labels) {
  if (folder.length == 0) return KEEP;
  if (is_skipped(folder)) return DISCARD;
  // No guess: what becomes of the event is for `on_fault` to say.
  if (folder.length > LABEL_BYTES_MAX || !is_utf8(folder)) return ABSTAIN;
  qatime_plugin_types_label_t *label = &labels->ptr[labels->len++];
  label->index = index;
  plugin_string_dup_n(&label->key, settings.label.bytes, settings.label.length);
  plugin_string_dup_n(&label->value, folder.bytes, folder.length);
  return KEEP;
}

bool exports_qatime_plugin_filter_run(exports_qatime_plugin_filter_borrow_batch_t batch,
                                      exports_qatime_plugin_filter_outcome_t *outcome,
                                      plugin_string_t *error) {
  qatime_plugin_types_packed_t paths;
  qatime_plugin_types_column_error_t column_error;
  plugin_string_t column;
  plugin_string_set(&column, "path");
  if (!qatime_plugin_batches_method_batch_bytes(batch, &column, &paths, &column_error)) {
    plugin_string_dup(error, "this qatime has no column `path`");
    return false;
  }

  size_t count = paths.ends.len;
  memset(outcome, 0, sizeof *outcome);
  outcome->verdicts.len = count;
  outcome->verdicts.ptr = malloc(count * sizeof *outcome->verdicts.ptr);
  outcome->labels.ptr = malloc(count * sizeof *outcome->labels.ptr);
  if (outcome->verdicts.ptr == NULL || outcome->labels.ptr == NULL) abort();

  uint32_t start = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t end = paths.ends.ptr[i];
    struct text folder = first_folder(paths.bytes.ptr + start, end - start);
    outcome->verdicts.ptr[i] = judge(folder, i, &outcome->labels);
    start = end;
  }
  // The bindings free a list only where it has entries.
  if (outcome->labels.len == 0) free(outcome->labels.ptr);
  qatime_plugin_types_packed_free(&paths);
  return true;
}
