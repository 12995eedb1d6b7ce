"""What it takes to start a process and to be a child: boot, the work loop, the zygote."""
