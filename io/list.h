/* An intrusive, doubly linked, circular list: a struct embeds one link for each list that it may stand in, and joins and
 * leaves in constant time without memory. A link that stands in no list points at itself.
 * Owned by one thread. The struct is found from its link with TAEL_CONTAINER_OF. */
#ifndef TAEL_IO_LIST_H
#define TAEL_IO_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct tael_list {
    struct tael_list *next;
    struct tael_list *previous;
};

/* Makes a list empty, or a link belong to none. */
static inline void tael_list_init(struct tael_list *list) {
    *list = (struct tael_list){.next = list, .previous = list};
}

/* For a list: nothing stands in it. For a link: it stands in no list. */
static inline bool tael_list_empty(const struct tael_list *list) { return list->next == list; }

/* The oldest link, NULL when there is none. */
static inline struct tael_list *tael_list_first(const struct tael_list *list) {
    return tael_list_empty(list) ? NULL : list->next;
}

/* Leaves the list that it stands in, if any. */
static inline void tael_list_remove(struct tael_list *link) {
    link->previous->next = link->next;
    link->next->previous = link->previous;
    tael_list_init(link);
}

/* Joins at the end, leaving the list that it stands in before, if any. */
static inline void tael_list_append(struct tael_list *list, struct tael_list *link) {
    tael_list_remove(link);
    link->previous = list->previous;
    link->next = list;
    list->previous->next = link;
    list->previous = link;
}

#endif
