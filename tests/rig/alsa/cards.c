/* Pretended sound cards: preloaded (LD_PRELOAD) into a process, it answers ALSA's questions for cards from the file
   that MPENGINE_RIG_CARDS names, with a line NUMBER|ID|NAME|PCM NAME|DEFINITION for each card. PortAudio then lists
   "NAME: PCM NAME (hw:NUMBER,0)". The file is read at each question, so cards come and go while the process runs.
   To open such a card is the business of alsa.conf and device.c. It is not linked with ALSA: a process that does not
   use sound loads nothing more. ALSA's types are opaque to its users; here they are the kernel's structures, as in
   ALSA itself, and its header does not go together with theirs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sound/asound.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
