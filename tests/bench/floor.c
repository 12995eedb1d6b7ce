/* What PortAudio and a WebSocket cost without any Python: the floor that the engine is held against.
 *
 *     floor HOST PORT DEVICE BLOCK_SAMPLES LATENCY_S [MARK_FILE]
 *
 * Reads blocks of 16-bit mono at 16 kHz from DEVICE (a name, a part of one, a number; "" is the default one) and sends
 * each as one masked WebSocket frame over plain TCP. What the server says is read and forgotten. With MARK_FILE each
 * block's sample index is written there before the block is sent, as the engine's capture writes its window: who
 * watches both files can compare what lies between. Ends when the server does.
 */
#include <netdb.h>
#include <netinet/tcp.h>
#include <portaudio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RATE = 16000, LONGEST_BLOCK = 16000, LONGEST_HEADER = 8 };

static void fail(const char *what)
{
    fprintf(stderr, "floor: %s\n", what);
    exit(1);
}

static void check(PaError code)
{
    if (code != paNoError)
        fail(Pa_GetErrorText(code));
}

static int dial(const char *host, const char *port)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
    int one = 1, fd;

    if (getaddrinfo(host, port, &hints, &found) != 0)
        fail("no such host");
    fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0)
        fail("no connection");
    freeaddrinfo(found);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void send_all(int fd, const unsigned char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent <= 0)
            exit(0); /* the server has ended: so does the measurement */
        data += sent;
        length -= (size_t)sent;
    }
}

static void upgrade(int fd, const char *host, const char *port)
{
    char text[4096];
    size_t length = 0;

    snprintf(text, sizeof text,
             "GET /v1/listen?encoding=linear16&sample_rate=16000&channels=1 HTTP/1.1\r\nHost: %s:%s\r\n"
             "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", host, port);
    send_all(fd, (unsigned char *)text, strlen(text));
    do {
        ssize_t got = recv(fd, text + length, sizeof text - 1 - length, 0);
        if (got <= 0)
            fail("no answer to the upgrade");
        length += (size_t)got;
        text[length] = 0;
    } while (!strstr(text, "\r\n\r\n") && length < sizeof text - 1);
    if (strncmp(text, "HTTP/1.1 101", 12) != 0)
        fail("the upgrade was refused");
}

/* One binary frame: header, mask, masked payload. Returns its length. */
static size_t frame(unsigned char *out, const unsigned char *payload, size_t length)
{
    unsigned char *mask;
    size_t at = 0;
    long chance = random();

    out[at++] = 0x82;
    if (length < 126) {
        out[at++] = (unsigned char)(0x80 | length);
    } else { /* LONGEST_BLOCK keeps it below 64 KiB */
        out[at++] = 0x80 | 126;
        out[at++] = (unsigned char)(length >> 8);
        out[at++] = (unsigned char)length;
    }
    mask = out + at;
    memcpy(mask, &chance, 4);
    at += 4;
    for (size_t i = 0; i < length; i++)
        out[at + i] = payload[i] ^ mask[i & 3];
    return at + length;
}

static PaStream *open_microphone(const char *name, unsigned long block, double latency_s)
{
    PaStreamParameters input = { .channelCount = 1, .sampleFormat = paInt16, .suggestedLatency = latency_s };
    PaStream *stream;

    check(Pa_Initialize());
    input.device = *name ? paNoDevice : Pa_GetDefaultInputDevice();
    if (*name && name[strspn(name, "0123456789")] == 0)
        input.device = atoi(name);
    for (PaDeviceIndex i = Pa_GetDeviceCount() - 1; input.device == paNoDevice && i >= 0; i--)
        if (Pa_GetDeviceInfo(i)->maxInputChannels > 0 && strstr(Pa_GetDeviceInfo(i)->name, name))
            input.device = i;
    if (input.device == paNoDevice)
        fail("no such input");
    check(Pa_OpenStream(&stream, &input, NULL, RATE, block, paNoFlag, NULL, NULL));
    check(Pa_StartStream(stream));
    return stream;
}

int main(int argc, char **argv)
{
    static int16_t block[LONGEST_BLOCK];
    static unsigned char out[LONGEST_HEADER + sizeof block], in[4096];
    uint64_t samples = 0;

    if (argc < 6)
        fail("usage: floor HOST PORT DEVICE BLOCK_SAMPLES LATENCY_S [MARK_FILE]");
    unsigned long block_samples = strtoul(argv[4], NULL, 10);
    if (block_samples < 1 || block_samples > LONGEST_BLOCK)
        fail("no such block");
    int mark = argc > 6 ? open(argv[6], O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    srandom((unsigned)getpid());
    int fd = dial(argv[1], argv[2]);
    upgrade(fd, argv[1], argv[2]);
    PaStream *stream = open_microphone(argv[3], block_samples, strtod(argv[5], NULL));
    for (;;) {
        PaError code = Pa_ReadStream(stream, block, block_samples);
        if (code != paInputOverflowed)
            check(code);
        if (mark >= 0 && pwrite(mark, &samples, sizeof samples, 0) != sizeof samples)
            fail("no room for the mark");
        send_all(fd, out, frame(out, (unsigned char *)block, 2 * block_samples));
        samples += block_samples;
        if (recv(fd, in, sizeof in, MSG_DONTWAIT) == 0)
            return 0;
    }
}
