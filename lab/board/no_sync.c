/* Says that it synced, and does nothing: with it before the C library a power cut must lose records, or the rig is blind. */
int fsync(int file) { return (void)file, 0; }
int fdatasync(int file) { return (void)file, 0; }
