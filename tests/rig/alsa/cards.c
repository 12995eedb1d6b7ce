/* Pretended sound cards: preloaded (LD_PRELOAD) into a process, it answers ALSA's questions for cards from the file
   that MPENGINE_RIG_CARDS names, with a line NUMBER|ID|NAME|PCM NAME|DEFINITION for each card. PortAudio then lists
   "NAME: PCM NAME (hw:NUMBER,0)". The file is read at each question, so cards come and go while the process runs.
   To open such a card is the business of alsa.conf and device.c. It is not linked with ALSA: a process that does not
   use sound loads nothing more. ALSA's types are opaque to its users; here they are the kernel's structures, as in
   ALSA itself, and its header does not go together with theirs.

   What the kernel says of cards in /proc/asound, /dev/snd and /sys/class/sound is read from the same directories in
   the one that MPENGINE_RIG_ROOT names. There a node without any permission is closed to root as well. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <sound/asound.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct card {
    int number;
    char id[16], name[32], pcm[80];
};

struct ctl { /* handles of this file; ALSA's begin otherwise */
    const void *mark;
    struct card card;
};

static const char mark;

/* ALSA's own function. libasound need not be in the global scope: Python opens it locally. */
static void *real(const char *function) {
    void *library = dlopen("libasound.so.2", RTLD_LAZY | RTLD_NOLOAD);
    return library ? dlsym(library, function) : NULL;
}

/* The card with this number, or, with `next`, the one of the lowest number above it. */
static int find(int number, int next, struct card *found) {
    const char *name = getenv("MPENGINE_RIG_CARDS");
    FILE *file = name ? fopen(name, "re") : NULL;
    struct card card;
    char line[512];
    int any = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%d|%15[^|]|%31[^|]|%79[^|]|", &card.number, card.id, card.name, card.pcm) != 4)
            continue;
        if (next ? card.number > number && (!any || card.number < found->number) : card.number == number)
            any = 1, *found = card;
    }
    if (file)
        fclose(file);
    return any;
}

int snd_card_next(int *number) {
    struct card card;
    *number = find(*number, 1, &card) ? card.number : -1;
    return 0;
}

int snd_ctl_open(struct ctl **ctl, const char *name, int mode) {
    int (*theirs)(struct ctl **, const char *, int) = real("snd_ctl_open");
    struct card card;
    int number;
    if (sscanf(name, "hw:%d", &number) != 1)
        return theirs ? theirs(ctl, name, mode) : -ENODEV;
    if (!find(number, 0, &card))
        return -ENODEV;
    if (!(*ctl = calloc(1, sizeof **ctl)))
        return -ENOMEM;
    (*ctl)->mark = &mark;
    (*ctl)->card = card;
    return 0;
}

int snd_ctl_close(struct ctl *ctl) {
    int (*theirs)(struct ctl *) = real("snd_ctl_close");
    if (ctl->mark != &mark)
        return theirs(ctl);
    free(ctl);
    return 0;
}

int snd_ctl_card_info(struct ctl *ctl, struct snd_ctl_card_info *info) {
    int (*theirs)(struct ctl *, struct snd_ctl_card_info *) = real("snd_ctl_card_info");
    if (ctl->mark != &mark)
        return theirs(ctl, info);
    memset(info, 0, sizeof *info);
    info->card = ctl->card.number;
    memcpy(info->id, ctl->card.id, sizeof ctl->card.id);
    memcpy(info->name, ctl->card.name, sizeof ctl->card.name);
    return 0;
}

int snd_ctl_pcm_next_device(struct ctl *ctl, int *device) {
    int (*theirs)(struct ctl *, int *) = real("snd_ctl_pcm_next_device");
    if (ctl->mark != &mark)
        return theirs(ctl, device);
    *device = *device < 0 ? 0 : -1;
    return 0;
}

int snd_ctl_pcm_info(struct ctl *ctl, struct snd_pcm_info *info) {
    int (*theirs)(struct ctl *, struct snd_pcm_info *) = real("snd_ctl_pcm_info");
    if (ctl->mark != &mark)
        return theirs(ctl, info);
    if (info->device != 0 || info->stream != SNDRV_PCM_STREAM_CAPTURE)
        return -ENOENT;
    info->card = ctl->card.number;
    memcpy(info->name, ctl->card.pcm, sizeof ctl->card.pcm);
    return 0;
}

/* The path that is meant, in `room` where it is one of ours. */
static const char *meant(const char *path, char room[512]) {
    static const char *const ours[] = {"/proc/asound", "/dev/snd", "/sys/class/sound"};
    const char *root = getenv("MPENGINE_RIG_ROOT");
    for (int i = 0; root && path && i < 3; i++) {
        size_t length = strlen(ours[i]);
        if (!strncmp(path, ours[i], length) && (path[length] == 0 || path[length] == '/')) {
            snprintf(room, 512, "%s%s", root, path);
            return room;
        }
    }
    return path;
}

#define NEXT(type, name, ...) \
    type (*next)(__VA_ARGS__) = dlsym(RTLD_NEXT, name); \
    char room[512]; \
    path = meant(path, room)

/* A process that was killed could not write that it has closed the device; but its lock has gone. */
static void tell_who_holds(const char *path, int (*next)(const char *, int, ...)) {
    size_t length = strlen(path);
    int file = length > 7 && !strcmp(path + length - 7, "/status") ? next(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    if (!flock(file, LOCK_EX | LOCK_NB) && !ftruncate(file, 0) && write(file, "closed\n", 7) < 0)
        perror(path);
    close(file);
}

int open64(const char *path, int flags, ...) {
    const char *asked = path;
    va_list rest;
    NEXT(int, "open64", const char *, int, ...);
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (path != asked)
        tell_who_holds(path, next);
    return next(path, flags, mode);
}

DIR *opendir(const char *path) {
    NEXT(DIR *, "opendir", const char *);
    return next(path);
}

int stat64(const char *restrict path, struct stat64 *restrict found) {
    NEXT(int, "stat64", const char *, struct stat64 *);
    return next(path, found);
}

int lstat64(const char *restrict path, struct stat64 *restrict found) {
    NEXT(int, "lstat64", const char *, struct stat64 *);
    return next(path, found);
}

ssize_t readlink(const char *restrict path, char *restrict target, size_t size) {
    NEXT(ssize_t, "readlink", const char *, char *, size_t);
    return next(path, target, size);
}

int access(const char *path, int mode) {
    const char *asked = path;
    struct stat64 found;
    NEXT(int, "access", const char *, int);
    if (path != asked && !stat64(path, &found) && !(found.st_mode & 0666)) {
        errno = EACCES;
        return -1;
    }
    return next(path, mode);
}

int inotify_add_watch(int watch, const char *path, uint32_t mask) {
    NEXT(int, "inotify_add_watch", int, const char *, uint32_t);
    return next(watch, path, mask);
}
