package mount

import "os"

// detach takes a dead mount on dir out of the tree by unmount, whose error it
// returns.
//
// Whoever lets go of a file system last waits until the kernel has forgotten all
// that it has cached of it: some seconds for a million names, or for 10 GiB of
// pages. That is to be a process for which nobody waits.
func detach(dir string, unmount func() error) error {
	fd, _, err := openMount(dir)
	if err != nil {
		return unmount() // and wait
	}
	held := os.NewFile(uintptr(fd), dir)
	if err := unmount(); err != nil {
		held.Close()
		return err
	}
	leave(held)
	return nil
}

// leave closes f in such a way that a process of its own closes it last, unless
// none can be started.
func leave(f *os.File) {
	defer f.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	defer r.Close()
	// A guard without orders ends with its standard input, and has its standard
	// output open until then.
	cmd := guardCommand()
	cmd.Stdin, cmd.Stdout = r, f
	if err := cmd.Start(); err == nil {
		go cmd.Wait()
	}
	f.Close()
	w.Close()
}
