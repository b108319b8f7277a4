/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The form for new machines and settings, on the form library.  Its rows are
 * those of machine_keys[], plus the name and, for a new machine, the size of
 * a disk to make; every row's check runs at each key, so a bad value is
 * marked where it is typed.
 */
#include <form.h>
#include <panel.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/host_cpuid.h"
#include "ui/manager/screen.h"

enum { MAX_ROWS = 24, MAX_CPU_MODELS = 40, LABEL_COLS = 14, VALUE_CAP = 1024 };

enum row_kind { ROW_NAME, ROW_KEY, ROW_SIZE };

struct row {
    enum row_kind kind;
    const struct machine_key *key;
    const char *label, *help;
    const char *const *choice; /* values to pick from, NULL free text */
    bool is_file;
    bool is_kept; /* the field cannot hold the value: it stays as it is */
};

struct form {
    struct machine *m;
    bool is_new, is_changed;
    bool is_lost; /* no memory for the fields */
    struct row row[MAX_ROWS];
    int rows;
    FIELD *field[MAX_ROWS + 1];
    FORM *form;
    WINDOW *win, *sub;
    PANEL *panel;
    struct screen_layer layer;
    int page; /* rows that are shown at a time */
    const char *cpu[MAX_CPU_MODELS + 1];
};

static const char *const type_choice[] = { "pc", NULL };
static const char *const memory_choice[] = { "128M", "256M", "512M", "1G",
                                             "2G",   "4G",   "8G",   NULL };
static const char *const cpus_choice[] = { "1", "2", "3", "4", "6", "8", NULL };
static const char *const accel_choice[] = { "auto", "soft", "kvm", NULL };
static const char *const boot_choice[] = { "dc", "cd",  "c",   "d", "a",
                                           "n",  "cdn", "adc", NULL };

static const struct {
    const char *key;
    const char *const *choice;
} choices[] = {
    { "type", type_choice }, { "memory", memory_choice },
    { "cpus", cpus_choice }, { "accel", accel_choice },
    { "boot", boot_choice },
};

/* ---- rows ---- */

static void add_row(struct form *f, enum row_kind kind,
                    const struct machine_key *k, const char *label,
                    const char *help)
{
    struct row *r = &f->row[f->rows++];

    *r = (struct row){ .kind = kind, .key = k, .label = label, .help = help };
    if (k == NULL) return;
    for (unsigned i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        if (strcmp(choices[i].key, k->key) == 0) r->choice = choices[i].choice;
    }
    if (strcmp(k->key, "cpu") == 0) r->choice = f->cpu;
    r->is_file = strncmp(k->key, "disk", 4) == 0 ||
                 strcmp(k->key, "cdrom") == 0 || strcmp(k->key, "floppy") == 0;
}

static void add_rows(struct form *f)
{
    const char *title;

    for (unsigned i = 0; i < MAX_CPU_MODELS; i++) {
        f->cpu[i] = cpu_model_list(i, &title);
        if (f->cpu[i] == NULL) break;
    }
    if (f->is_new) {
        add_row(f, ROW_NAME, NULL, "Name",
                "letters, digits, - _ and .; also the folder's name");
    }
    for (const struct machine_key *k = machine_keys; k->key != NULL; k++) {
        if (f->is_new && strcmp(k->key, "disk1") == 0) {
            add_row(f, ROW_SIZE, NULL, "New disk",
                    "size of a disk to make, 1M to 64T, grows as it fills; "
                    "empty: none");
        }
        add_row(f, ROW_KEY, k, k->label, k->help);
    }
}

static const char *initial(const struct form *f, const struct row *r)
{
    if (r->kind == ROW_KEY) return machine_value(f->m, r->key);
    return r->kind == ROW_SIZE ? "10G" : f->m->name;
}

/* Text of a field without the blanks the library pads with. */
static void value_of(const struct form *f, int i, char out[VALUE_CAP])
{
    const char *b = field_buffer(f->field[i], 0);
    size_t n;

    snprintf(out, VALUE_CAP, "%s", b != NULL ? b : "");
    n = strlen(out);
    while (n > 0 && out[n - 1] == ' ')
        out[--n] = '\0';
}

static int check_row(const struct form *f, int i, struct err *e)
{
    const struct row *r = &f->row[i];
    char v[VALUE_CAP];

    if (r->is_kept)
        return r->key->check ? r->key->check(f->m, initial(f, r), e) : 0;
    value_of(f, i, v);
    if (r->kind == ROW_NAME) return machine_check_name(v, e);
    if (r->kind == ROW_SIZE) return machine_check_size(v, e);
    if (*v == '\0' || r->key->check == NULL) return 0;
    return r->key->check(f->m, v, e);
}

/* ---- drawing ---- */

static bool can_choose(const struct row *r)
{
    return (r->choice != NULL || r->is_file) && !r->is_kept;
}

/* Above the keys; in a wide terminal one line does. */
static void put_two_lines(const struct form *f, attr_t a, const char *text)
{
    int y = getmaxy(f->win) - 4, cols = getmaxx(f->win) - 4;
    size_t n = strlen(text), cut = (size_t)cols;
    char line[256] = "";

    if (n > cut) {
        while (cut > 0 && text[cut] != ' ')
            cut--;
        if (cut == 0) cut = (size_t)cols;
        snprintf(line, sizeof(line), "%.*s", (int)cut, text);
        text += text[cut] == ' ' ? cut + 1 : cut;
    }
    screen_put(f->win, y, 2, cols, a, line);
    screen_put(f->win, y + 1, 2, cols, a, text);
}

static void draw_title(const struct form *f, int at)
{
    char title[MACHINE_NAME_MAX + 40];
    const char *name = f->is_new ? "New machine" : f->m->name;

    snprintf(title, sizeof(title), "%s", name);
    if (f->page < f->rows) {
        snprintf(title, sizeof(title), "%s, page %d of %d", name,
                 at / f->page + 1, (f->rows + f->page - 1) / f->page);
    }
    screen_box(f->win, title);
}

static void draw(struct form *f)
{
    int rows = getmaxy(f->win), cols = getmaxx(f->win);
    int at = field_index(current_field(f->form));
    struct err e = ERR_INIT;
    char keys[80];

    draw_title(f, at);
    for (int y = 0; y < f->page; y++) {
        int i = at / f->page * f->page + y;
        bool is_row = i < f->rows;
        const struct row *r = &f->row[is_row ? i : 0];
        struct err bad = ERR_INIT;
        bool is_bad = is_row && check_row(f, i, &bad) < 0;

        screen_put(f->win, 1 + y, 1, 1, screen_colour(COLOUR_BAD) | A_BOLD,
                   is_bad ? "!" : " ");
        screen_put(f->win, 1 + y, 2, LABEL_COLS, i == at ? A_BOLD : 0,
                   is_row ? r->label : "");
        screen_put(f->win, 1 + y, cols - 4, 3, screen_colour(COLOUR_DIM),
                   is_row && can_choose(r) ? "..." : "");
    }
    if (check_row(f, at, &e) < 0) {
        put_two_lines(f, screen_colour(COLOUR_BAD) | A_BOLD, e.text);
    } else {
        put_two_lines(f, 0,
                      f->row[at].is_kept
                          ? "stays as it is: too long or odd to edit here; "
                            "Ctrl-U empties it"
                          : f->row[at].help);
    }
    snprintf(keys, sizeof(keys), "%s%s%s",
             !f->is_new  ? "Ctrl-S save  "
             : cols < 60 ? "F5 start  ^S create  "
                         : "F5 create and start  Ctrl-S create  ",
             !can_choose(&f->row[at]) ? ""
             : cols < 60              ? "F3 pick  "
                                      : "F3 choose  ",
             "Esc back");
    screen_put(f->win, rows - 2, 2, cols - 4, screen_colour(COLOUR_DIM), keys);
    pos_form_cursor(f->form);
    update_panels();
    doupdate();
}

/* ---- making and dropping ---- */

/* A field shows control characters as others and ends at its size: what comes
 * back is not what went in, and must not be saved. */
static void fill_field(struct form *f, int i)
{
    const char *text = initial(f, &f->row[i]);
    char v[VALUE_CAP];

    set_field_buffer(f->field[i], 0, text);
    value_of(f, i, v);
    f->row[i].is_kept = f->row[i].kind == ROW_KEY && strcmp(v, text) != 0;
}

/* The windows and fields for the terminal's size: as many pages as it takes.
 * value: what the fields hold, NULL: what the machine has. */
static int make_form(struct form *f, char (*value)[VALUE_CAP])
{
    int rows = f->rows + 5 < LINES ? f->rows + 5 : LINES;
    int cols = COLS < 96 ? COLS : 96;

    f->page = rows - 5;
    f->win = newwin(rows, cols, (LINES - rows) / 2, (COLS - cols) / 2);
    if (f->win == NULL) return -1;
    f->sub = derwin(f->win, f->page, cols - LABEL_COLS - 8, 1, LABEL_COLS + 3);
    if (f->sub == NULL) return -1;
    for (int i = 0; i < f->rows; i++) {
        f->field[i] = new_field(1, cols - LABEL_COLS - 8, i % f->page, 0, 0, 0);
        if (f->field[i] == NULL) return -1;
        set_new_page(f->field[i], i % f->page == 0);
        field_opts_off(f->field[i], O_STATIC | O_AUTOSKIP | O_BLANK);
        set_max_field(f->field[i], VALUE_CAP - 1);
        set_field_back(f->field[i], A_UNDERLINE);
        if (value != NULL) {
            set_field_buffer(f->field[i], 0, value[i]);
        } else {
            fill_field(f, i);
        }
    }
    f->form = new_form(f->field);
    if (f->form == NULL) return -1;
    set_form_win(f->form, f->win);
    set_form_sub(f->form, f->sub);
    return post_form(f->form) == E_OK ? 0 : -1;
}

static void drop_form(struct form *f)
{
    if (f->form != NULL) {
        unpost_form(f->form);
        free_form(f->form);
    }
    for (int i = 0; i < f->rows && f->field[i] != NULL; i++) {
        free_field(f->field[i]);
        f->field[i] = NULL;
    }
    if (f->sub != NULL) delwin(f->sub);
    f->form = NULL;
    f->sub = NULL;
}

/* A new size of the terminal: the same values in other windows. */
static void resize_form(void *arg)
{
    struct form *f = arg;
    char(*value)[VALUE_CAP] = calloc((size_t)f->rows, sizeof(*value));
    int at = field_index(current_field(f->form));
    WINDOW *old = f->win;

    if (value == NULL) return;
    form_driver(f->form, REQ_VALIDATION);
    for (int i = 0; i < f->rows; i++)
        value_of(f, i, value[i]);
    drop_form(f);
    f->is_lost = make_form(f, value) < 0;
    if (f->win != NULL) {
        replace_panel(f->panel, f->win);
        delwin(old);
    }
    free(value);
    if (f->is_lost) return;
    set_current_field(f->form, f->field[at]);
    form_driver(f->form, REQ_END_LINE);
    draw(f);
}

static int open_form(struct form *f)
{
    if (make_form(f, NULL) < 0) return -1;
    f->panel = new_panel(f->win);
    f->layer = (struct screen_layer){ resize_form, f };
    set_panel_userptr(f->panel, &f->layer);
    return 0;
}

static void close_form(struct form *f)
{
    drop_form(f);
    if (f->panel != NULL) del_panel(f->panel);
    if (f->win != NULL) delwin(f->win);
    curs_set(0);
    update_panels();
    doupdate();
}

/* ---- keys ---- */

static int count_of(const char *const *list)
{
    int n = 0;

    while (list[n] != NULL)
        n++;
    return n;
}

static void choose(struct form *f)
{
    int i = field_index(current_field(f->form)), picked, at = 0;
    const struct row *r = &f->row[i];
    char v[VALUE_CAP];

    if (!can_choose(r)) return;
    form_driver(f->form, REQ_VALIDATION);
    value_of(f, i, v);
    if (r->choice != NULL) {
        for (int k = 0; r->choice[k] != NULL; k++) {
            if (strcmp(r->choice[k], v) == 0) at = k;
        }
        picked = dialog_choose(r->label, r->choice, count_of(r->choice), at);
        if (picked < 0) return;
        set_field_buffer(f->field[i], 0, r->choice[picked]);
    } else if (dialog_browse(r->label, v, sizeof(v))) {
        set_field_buffer(f->field[i], 0, v);
    } else {
        return;
    }
    f->is_changed = true;
    touchwin(f->win);
}

/* By rows from the current one, round and round. */
static bool change_row(struct form *f, int key)
{
    int by = 0, at = field_index(current_field(f->form));

    if (key == '\t' || key == KEY_DOWN || key == KEY_ENTER) by = 1;
    if (key == KEY_BTAB || key == KEY_UP) by = f->rows - 1;
    if (key == KEY_NPAGE) by = at + f->page < f->rows ? f->page : 0;
    if (key == KEY_PPAGE) by = at >= f->page ? f->rows - f->page : 0;
    if (by == 0) return key == KEY_NPAGE || key == KEY_PPAGE;
    set_current_field(f->form, f->field[(at + by) % f->rows]);
    form_driver(f->form, REQ_END_LINE);
    return true;
}

static void edit(struct form *f, int key)
{
    static const struct {
        int key, request;
    } map[] = {
        { KEY_LEFT, REQ_PREV_CHAR },     { KEY_RIGHT, REQ_NEXT_CHAR },
        { KEY_HOME, REQ_BEG_LINE },      { KEY_END, REQ_END_LINE },
        { KEY_BACKSPACE, REQ_DEL_PREV }, { KEY_DC, REQ_DEL_CHAR },
        { 'U' - 64, REQ_CLR_FIELD },
    };
    struct row *r = &f->row[field_index(current_field(f->form))];

    if (change_row(f, key)) return;
    if (key == 'U' - 64) r->is_kept = false; /* may be replaced as a whole */
    for (unsigned i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
        if (key != map[i].key) continue;
        if (map[i].request >= REQ_DEL_CHAR && r->is_kept) return;
        if (map[i].request >= REQ_DEL_CHAR) f->is_changed = true;
        form_driver(f->form, map[i].request);
        return;
    }
    if (key >= 32 && key < 256 && key != 127 && !r->is_kept) {
        form_driver(f->form, key);
        f->is_changed = true;
    }
    form_driver(f->form, REQ_VALIDATION);
}

/* Move the values into the machine; the size of the new disk into size. */
static void collect(struct form *f, char size[VALUE_CAP])
{
    char v[VALUE_CAP];

    size[0] = '\0';
    for (int i = 0; i < f->rows; i++) {
        value_of(f, i, v);
        if (f->row[i].is_kept) continue;
        if (f->row[i].kind == ROW_KEY) {
            machine_set(f->m, f->row[i].key, v);
        } else if (f->row[i].kind == ROW_SIZE) {
            strcpy(size, v);
        } else {
            snprintf(f->m->name, sizeof(f->m->name), "%.*s", MACHINE_NAME_MAX,
                     v);
        }
    }
}

static bool store(struct form *f)
{
    const char *disks[MACHINE_DISKS] = { NULL };
    char size[VALUE_CAP];
    struct err e = ERR_INIT;
    int rc = 0;

    form_driver(f->form, REQ_VALIDATION);
    for (int i = 0; i < f->rows && rc == 0; i++) {
        rc = check_row(f, i, &e);
        if (rc < 0) set_current_field(f->form, f->field[i]);
    }
    if (rc == 0) {
        collect(f, size);
        if (*size != '\0') disks[0] = size;
        rc = f->is_new ? machine_create(f->m, disks, &e)
                       : machine_save(f->m, &e);
    }
    if (rc < 0) dialog_message("Not saved", e.text);
    touchwin(f->win);
    return rc == 0;
}

static bool may_leave(const struct form *f)
{
    return !f->is_changed ||
           dialog_confirm("Leave the form",
                          "What you typed is not saved and will be lost.",
                          "Discard");
}

static bool run(struct form *f, bool *start)
{
    bool is_stored = false, is_done = false;

    add_rows(f);
    if (open_form(f) < 0) {
        close_form(f);
        dialog_message("Form", "There is no memory for this form.");
        return false;
    }
    form_driver(f->form, REQ_END_LINE);
    while (!is_done && !f->is_lost) {
        int key;

        curs_set(1);
        draw(f);
        key = screen_key(f->win, -1);
        switch (key) {
        case KEY_RESIZE: break;
        case 27:
            is_done = may_leave(f);
            touchwin(f->win);
            break;
        case KEY_F(3): choose(f); break;
        case 'S' - 64:
        case KEY_F(5):
            is_stored = is_done = store(f);
            if (start != NULL) *start = is_stored && key == KEY_F(5);
            break;
        default: edit(f, key);
        }
    }
    close_form(f);
    return is_stored;
}

bool form_new(struct machine *m, bool *start)
{
    struct form f = { .m = m, .is_new = true };

    return run(&f, start);
}

bool form_edit(struct machine *m)
{
    struct form f = { .m = m };

    return run(&f, NULL);
}
