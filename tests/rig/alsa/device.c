/* A pretended capture device: an ALSA plugin (ioplug) of type "mpengine_rig" that needs no hardware.

   It offers the rates, channels and formats of its definition and refuses all others. Its sound is a function of the
   position on its own clock, so that whoever has heard it knows which samples are missing (position_code.py decodes).
   It follows a file of words that may be written anew at any time: faults, levels, a sound to play. tests/rig/
   sound_card.py writes definition and words; the names there are the names here.

   A handle is used by one thread at a time, as ALSA demands; only the code's table is shared, and made once. */
#define _GNU_SOURCE
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>

#define CHIPS ((1 << 20) - 1) /* the code repeats itself after so many chips of a millisecond: 17 minutes */

struct words { /* what the control file says */
    char open[16], run[16], signal[16], died[16], sound[256];
    long level, dc, burst_ms, short_permille, plugged;
    long long lose_samples, sound_from_ns;
    long loop;
};

struct device {
    snd_pcm_ioplug_t io;
    struct words words;
    struct stat seen; /* the control file, when its words were read */
    char control[256], log[256];
    int64_t epoch_ns;
    long drift_ppm;
    int period_steps;
    unsigned sounding; /* bit n: channel n has the sound */
    int timer, held;
    int running, overrun;     /* overrun: until it is prepared again */
    int ended;                /* unplugged once, and for this handle for ever */
    int64_t start;            /* position on the device's clock where the stream began */
    int64_t there;            /* samples offered since then */
    int64_t lost, lost_begin; /* left out without a flag; what lose_samples was at the start */
    int16_t *sound;
    int64_t sound_samples, sound_from, told_end;
    unsigned seed;
};

static uint8_t code[CHIPS / 8 + 1];

static void make_code(void) { /* the maximum-length sequence of x^20 + x^3 + 1, as position_code.py makes it */
    unsigned state = 1;
    for (int chip = 0; chip < CHIPS; chip++) {
        code[chip / 8] |= (state & 1) << chip % 8;
        state = state >> 1 | ((state ^ state >> 3) & 1) << 19;
    }
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* The device's clock: samples since the epoch, faster than the true rate by its drift. */
static int64_t position_at(struct device *d, int64_t ns) {
    return (int64_t)((__int128)(ns - d->epoch_ns) * d->io.rate * (1000000 + d->drift_ppm) / 1000000000000000LL);
}

/* One line, one write: lines of several processes do not mix. */
static void tell(struct device *d, const char *what, int64_t position) {
    char line[128];
    int file = open(d->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    int length = snprintf(line, sizeof line, "%lld %d %s %lld %u\n", (long long)now_ns(), getpid(), what,
                          (long long)position, d->io.rate);
    if (file < 0 || write(file, line, length) != length)
        fprintf(stderr, "mpengine_rig: cannot write %s\n", d->log);
    if (file >= 0)
        close(file);
}

static void load_sound(struct device *d) {
    struct stat size;
    int file = -1;
    if (d->sound)
        munmap(d->sound, d->sound_samples * sizeof *d->sound);
    d->sound = NULL;
    if (!*d->words.sound || (file = open(d->words.sound, O_RDONLY | O_CLOEXEC)) < 0)
        return;
    if (!fstat(file, &size) && size.st_size >= 2) {
        void *map = mmap(NULL, size.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (map != MAP_FAILED) {
            d->sound = map;
            d->sound_samples = size.st_size / sizeof *d->sound;
        }
    }
    close(file);
}

/* Reads the words if they are others than those that were read last. */
static void look(struct device *d) {
    struct words w = {.level = 3000, .loop = 0};
    struct stat found;
    char key[32], value[256], line[300];
    FILE *file;
    if (stat(d->control, &found))
        return;
    if (found.st_ino == d->seen.st_ino && found.st_mtim.tv_sec == d->seen.st_mtim.tv_sec &&
        found.st_mtim.tv_nsec == d->seen.st_mtim.tv_nsec)
        return;
    if (!(file = fopen(d->control, "re")))
        return;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%31s %255[^\n]", key, value) != 2)
            continue;
#define TEXT(field) \
    else if (!strcmp(key, #field)) snprintf(w.field, sizeof w.field, "%.*s", (int)sizeof w.field - 1, value)
#define NUMBER(field) else if (!strcmp(key, #field)) w.field = atoll(value)
        if (0)
            ;
        TEXT(open);
        TEXT(run);
        TEXT(signal);
        TEXT(died);
        TEXT(sound);
        NUMBER(level);
        NUMBER(dc);
        NUMBER(burst_ms);
        NUMBER(short_permille);
        NUMBER(plugged);
        NUMBER(lose_samples);
        NUMBER(sound_from_ns);
        NUMBER(loop);
    }
    fclose(file);
    if (d->seen.st_ino && w.plugged != d->words.plugged)
        d->ended = 1; /* another plugging: this handle belongs to a device that has gone */
    int other = strcmp(w.sound, d->words.sound) != 0;
    d->words = w;
    d->seen = found;
    if (other)
        load_sound(d);
    d->sound_from = d->io.rate ? position_at(d, w.sound_from_ns) : 0;
}

static int is(const char *word, const char *value) { return !strcmp(word, value); }

/* The end of a device: `gone` is an error at each call, `frozen` (like a card) is a count that stands still. */
static int gone(struct device *d) { return is(d->words.run, "gone") || (d->ended && !is(d->words.died, "frozen")); }
static int still(struct device *d) { return d->ended || is(d->words.run, "frozen") || is(d->words.run, "stall"); }

/* How many samples the stream has brought by now, and how many of the clock's it has left out. */
static int64_t brought(struct device *d, int64_t *lost) {
    int64_t ns = now_ns(), burst_ns = d->words.burst_ms * 1000000LL, all, lump;
    if (burst_ns)
        ns = d->epoch_ns + (ns - d->epoch_ns) / burst_ns * burst_ns;
    all = position_at(d, ns) - d->start;
    if (all < 0)
        all = 0;
    lump = d->io.rate / 50; /* the code must be heard in between */
    *lost = d->words.lose_samples - d->lost_begin + all * d->words.short_permille / 1000 / lump * lump;
    if (*lost < d->lost)
        *lost = d->lost;
    all -= *lost;
    if (d->period_steps)
        all = all / (int64_t)d->io.period_size * (int64_t)d->io.period_size;
    return all;
}

/* Samples that have been read since the start, and the position of the next one. */
static int64_t taken(struct device *d) { return d->io.appl_ptr; }
static int64_t next_position(struct device *d) { return d->start + taken(d) + d->lost; }

static void set_timer(struct device *d, int64_t period_ns) {
    struct timespec period = {period_ns / 1000000000, period_ns % 1000000000};
    struct itimerspec timer = {period, period};
    timerfd_settime(d->timer, 0, &timer, NULL);
}

static int rig_prepare(snd_pcm_ioplug_t *io) {
    struct device *d = io->private_data;
    look(d);
    if (gone(d) || d->ended)
        return -ENODEV;
    d->there = d->lost = d->overrun = 0;
    return 0;
}

static int rig_start(snd_pcm_ioplug_t *io) {
    struct device *d = io->private_data;
    int error = rig_prepare(io);
    if (error)
        return error;
    d->start = position_at(d, now_ns());
    d->sound_from = position_at(d, d->words.sound_from_ns);
    d->lost_begin = d->words.lose_samples;
    d->running = 1;
    set_timer(d, io->period_size * 1000000000LL / io->rate);
    tell(d, "start", d->start);
    return 0;
}

static int rig_stop(snd_pcm_ioplug_t *io) {
    struct device *d = io->private_data;
    if (d->running)
        tell(d, "stop", next_position(d));
    d->running = 0;
    set_timer(d, 0);
    return d->ended ? -ENODEV : 0;
}

static snd_pcm_sframes_t rig_pointer(snd_pcm_ioplug_t *io) {
    struct device *d = io->private_data;
    int64_t lost, there;
    look(d);
    if (gone(d)) {
        d->ended = 1;
        return -ENODEV;
    }
    if (is(d->words.run, "frozen"))
        d->ended = 1;
    if (d->running && !still(d)) {
        there = brought(d, &lost);
        if (there - taken(d) >= (int64_t)io->buffer_size) {
            if (!d->overrun)
                tell(d, "overrun", next_position(d));
            d->overrun = 1;
            return -EPIPE;
        }
        if (there > d->there) {
            d->there = there;
            d->lost = lost;
        }
    }
    return d->there % io->buffer_size;
}

static int sample_at(struct device *d, int64_t position) {
    int value = 0, level = d->words.level;
    int64_t chip, of_sound = position - d->sound_from;
    if (d->sound && of_sound >= 0 && (d->words.loop || of_sound < d->sound_samples))
        return d->sound[of_sound % d->sound_samples];
    if (is(d->words.signal, "noise"))
        value = rand_r(&d->seed) % (2 * level + 1) - level;
    else if (is(d->words.signal, "clip"))
        value = position / (d->io.rate / 400) % 2 ? 32767 : -32768;
    else if (!is(d->words.signal, "zeros")) {
        chip = position * 1000 / d->io.rate % CHIPS;
        value = code[chip / 8] >> chip % 8 & 1 ? level : -level;
    }
    value += d->words.dc;
    return value > 32767 ? 32767 : value < -32768 ? -32768 : value;
}

static void put(char *at, snd_pcm_format_t format, int value) {
    int32_t wide = value * 65536;
    switch (format) {
    case SND_PCM_FORMAT_U8: *(uint8_t *)at = (value + 32768) >> 8; break;
    case SND_PCM_FORMAT_S16_LE: *(int16_t *)at = value; break;
    case SND_PCM_FORMAT_S24_3LE: at[0] = 0, at[1] = value, at[2] = value >> 8; break;
    case SND_PCM_FORMAT_S24_LE: *(int32_t *)at = wide >> 8; break;
    case SND_PCM_FORMAT_S32_LE: *(int32_t *)at = wide; break;
    default: *(float *)at = value / 32768.0f; break;
    }
}

/* Mapped access has ALSA call this at each look at what is available, with the part up to the buffer's end alone, and
   then takes more than that: so all that is available is written, as often as it is asked for. */
static snd_pcm_sframes_t rig_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
                                      snd_pcm_uframes_t offset, snd_pcm_uframes_t size) {
    struct device *d = io->private_data;
    int mapped = io->access == SND_PCM_ACCESS_MMAP_INTERLEAVED;
    int64_t position = next_position(d), count = mapped ? d->there - taken(d) : (int64_t)size;
    if (gone(d))
        return -ENODEV;
    for (int64_t i = 0; i < count; i++) {
        int value = sample_at(d, position + i);
        snd_pcm_uframes_t frame = mapped ? (offset + i) % io->buffer_size : offset + i;
        for (unsigned c = 0; c < io->channels; c++)
            put((char *)areas[c].addr + (areas[c].first + areas[c].step * frame) / 8, io->format,
                d->sounding >> c & 1 ? value : 0);
    }
    if (d->sound && !d->words.loop && d->told_end < d->sound_from + d->sound_samples &&
        position + count >= d->sound_from + d->sound_samples) {
        d->told_end = d->sound_from + d->sound_samples;
        tell(d, "played", d->told_end);
    }
    return size;
}

static int rig_revents(snd_pcm_ioplug_t *io, struct pollfd *polled, unsigned count, unsigned short *events) {
    struct device *d = io->private_data;
    uint64_t ticks;
    int64_t lost, there;
    *events = 0;
    look(d);
    if (count && polled->revents & POLLIN && read(d->timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN)
        return -errno;
    there = still(d) ? 0 : brought(d, &lost) - taken(d);
    if (gone(d))
        *events = POLLERR;
    else if (there >= (int64_t)io->buffer_size)
        *events = POLLIN | POLLERR; /* as the kernel says it; ALSA's plug tells of an overrun in no other way */
    else if (there >= (int64_t)io->period_size)
        *events = POLLIN;
    return 0;
}

static int rig_delay(snd_pcm_ioplug_t *io, snd_pcm_sframes_t *delay) {
    struct device *d = io->private_data;
    if (rig_pointer(io) == -ENODEV)
        return -ENODEV;
    *delay = d->there - taken(d);
    return 0;
}

/* A card has one user at a time, and /proc/asound says who: the file has the kernel's words. Each plugging has a file
   of its own. The lock goes with the process, however that ends. */
static int hold(struct device *d, const char *path) {
    char name[300];
    if (!*path)
        return 0;
    snprintf(name, sizeof name, "%s%ld", path, d->words.plugged);
    if ((d->held = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
        return -errno;
    if (flock(d->held, LOCK_EX | LOCK_NB)) {
        close(d->held);
        d->held = -1;
        return -EBUSY;
    }
    if (ftruncate(d->held, 0) || dprintf(d->held, "state: RUNNING\nowner_pid   : %d\n", getpid()) < 0)
        return -EIO;
    return 0;
}

static void let_go(struct device *d) {
    if (d->held >= 0 && (ftruncate(d->held, 0) || pwrite(d->held, "closed\n", 7, 0) != 7))
        perror("mpengine_rig");
    if (d->held >= 0)
        close(d->held);
}

static int rig_close(snd_pcm_ioplug_t *io) {
    struct device *d = io->private_data;
    tell(d, "close", next_position(d));
    d->words.sound[0] = 0;
    load_sound(d);
    let_go(d);
    close(d->timer);
    free(d);
    return 0;
}

static const snd_pcm_ioplug_callback_t callbacks = {
    .start = rig_start,
    .stop = rig_stop,
    .pointer = rig_pointer,
    .transfer = rig_transfer,
    .prepare = rig_prepare,
    .poll_revents = rig_revents,
    .delay = rig_delay,
    .close = rig_close,
};

/* The definition's name of the device in slot `card` (a number or an id) of the pretended cards; 0 if there is none.
   The file has lines NUMBER|ID|NAME|PCM NAME|DEFINITION, as cards.c reads them. */
static int of_card(const char *cards, const char *card, char definition[64]) {
    char line[512], number[16], id[32];
    FILE *file = fopen(cards, "re");
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file))
        found = sscanf(line, "%15[^|]|%31[^|]|%*[^|]|%*[^|]|%63[^\n]", number, id, definition) == 3 &&
                (is(number, card) || is(id, card));
    if (file)
        fclose(file);
    return found;
}

static const char *text(snd_config_t *definition, const char *key) {
    snd_config_t *node;
    const char *value = "";
    if (snd_config_search(definition, key, &node) >= 0)
        snd_config_get_string(node, &value);
    return value;
}

/* A list of words parted by blanks, as numbers or as names of formats. */
static int list(const char *words, unsigned values[16], int formats) {
    char word[32];
    int count = 0, length;
    for (; count < 16 && sscanf(words, "%31s%n", word, &length) == 1; words += length)
        values[count++] = formats ? (unsigned)snd_pcm_format_value(word) : (unsigned)atoi(word);
    return count;
}

static int restrict_to(snd_pcm_ioplug_t *io, snd_config_t *definition) {
    static const unsigned access[] = {SND_PCM_ACCESS_RW_INTERLEAVED, SND_PCM_ACCESS_MMAP_INTERLEAVED};
    unsigned values[16], buffer_bytes = atoi(text(definition, "buffer_bytes"));
    int error = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 2, access);
    error = error ? error : snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_RATE,
        list(text(definition, "rates"), values, 0), values);
    error = error ? error : snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_CHANNELS,
        list(text(definition, "channels"), values, 0), values);
    error = error ? error : snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT,
        list(text(definition, "formats"), values, 1), values);
    error = error ? error : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, 64, buffer_bytes / 2);
    error = error ? error : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_BUFFER_BYTES, 256, buffer_bytes);
    return error ? error : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, 1024);
}

static int error_of(const char *word) {
    return is(word, "EBUSY") ? -EBUSY : is(word, "EACCES") ? -EACCES : is(word, "ENODEV") ? -ENODEV
        : is(word, "ENOENT") ? -ENOENT : 0;
}

/* pcm.NAME { type mpengine_rig, device DEFINITION } or { …, cards FILE, card NUMBER or ID, dev 0 }; the definition
   stands beside the PCMs, in mpengine_rig.DEFINITION, where PortAudio does not look for devices. */
SND_PCM_PLUGIN_DEFINE_FUNC(mpengine_rig) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char wanted[64], place[96];
    snd_config_t *definition;
    struct device *d;
    unsigned channels[16];
    int error, count;
    if (stream != SND_PCM_STREAM_CAPTURE)
        return -ENOENT;
    snprintf(wanted, sizeof wanted, "%s", text(conf, "device"));
    if (!*wanted && (strcmp(text(conf, "dev"), "0") || !of_card(text(conf, "cards"), text(conf, "card"), wanted)))
        return -ENODEV;
    snprintf(place, sizeof place, "mpengine_rig.%s", wanted);
    if ((error = snd_config_search(root, place, &definition)) < 0)
        return error;
    if (!(d = calloc(1, sizeof *d)))
        return -ENOMEM;
    pthread_once(&once, make_code);
    snprintf(d->control, sizeof d->control, "%s", text(definition, "control"));
    snprintf(d->log, sizeof d->log, "%s", text(definition, "log"));
    d->epoch_ns = atoll(text(definition, "epoch_ns"));
    d->drift_ppm = atol(text(definition, "drift_ppm"));
    d->period_steps = is(text(definition, "period_steps"), "yes");
    for (count = list(text(definition, "sounding"), channels, 0); count; count--)
        d->sounding |= 1u << channels[count - 1];
    d->seed = 1;
    d->held = -1;
    look(d);
    error = error_of(d->words.open);
    if (!error)
        error = hold(d, text(definition, "held"));
    tell(d, error == -EBUSY ? "EBUSY" : error || is(d->words.open, "HANG") ? d->words.open : "open", 0);
    while (is(d->words.open, "HANG"))
        pause();
    d->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    d->io.version = SND_PCM_IOPLUG_VERSION;
    d->io.name = "a pretended device of mpengine's tests";
    d->io.callback = &callbacks;
    d->io.private_data = d;
    d->io.poll_fd = d->timer;
    d->io.poll_events = POLLIN;
    if (!error)
        error = d->timer < 0 ? -errno : snd_pcm_ioplug_create(&d->io, name, stream, mode);
    if (error < 0) {
        if (d->timer >= 0)
            close(d->timer);
        let_go(d);
        free(d);
        return error;
    }
    if ((error = restrict_to(&d->io, definition)) < 0) {
        snd_pcm_ioplug_delete(&d->io);
        return error;
    }
    *pcmp = d->io.pcm;
    return 0;
}
SND_PCM_PLUGIN_SYMBOL(mpengine_rig);
