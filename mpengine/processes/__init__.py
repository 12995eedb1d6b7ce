"""What it takes to start a process and to be a child: boot, the work loop, the zygote, and the tricks of starting.

A trick has to earn its lines. `scripts/bench tricks` runs the engine as it is, without each trick and without all of
them; `MPENGINE_WITHOUT` is its switch (see `tricks`). What it found:

    trick         memory     capture back   streaming back   lines (tests)   where
    zygote        3.6 MB     93 ms sooner   82 ms sooner     550 (320)       zygote, zygote_messages; supervisor
    proc_title    5.0 MB     -              -                 55  (64)       proc_title
    soname        0.7 MB     -              -                 35  (15)       capture/portaudio
    give_back     0.3 MB     -              -                 70  (80)       tricks, freed_memory; loop, supervisor
    freeze        0.1 MB     -              -                  2             tricks
    all           4.7 MB    150 ms sooner  102 ms sooner

* `zygote`: children are forked from a process that has loaded what all of them need. Without it, each child is a new
  interpreter.
* `proc_title`: a process writes over its arguments and its environment in /proc. So a fork has a name of its own and
  shows no secret, and the zygote can be forked off the supervisor. Without it, the zygote is a new interpreter, and
  shares no memory with the supervisor: that costs more than to have no zygote. Secrets are hidden without it, too.
* `soname`: PortAudio is found without a search. Measured alone it saves 10 ms of a start of capture, 7 ms of them
  processor time; among whole restarts that is noise.
* `give_back`: memory that only the start needed goes back to the system, and so does what a flood has left (see
  `freed_memory`). What the start needed is 1.6 MB where Python can write no bytecode, and compiles at every start.
* `freeze`: the collector leaves alone what was there before the fork. The gain comes later: from its first full
  collection on, a child would hold 3.7 MB more.

Memory is the PSS of the whole engine without the pages of files, 36.9 MB with all tricks (where typing_extensions is
installed, which msgspec then loads). It repeats within 0.1 MB; PSS as a whole swings by 5 MB with other programs that
use the same libraries. Times are from a kill to the next audio at the recogniser, with TLS: 82 ms for capture and
105 ms for streaming with all tricks. They are medians of 12 rounds on two cores, at a load of 1 to 11; "-" is a
difference below 20 ms, which is noise there. From the start to the first audio (0.18 s at best) no trick made a
difference above the noise.
"""
