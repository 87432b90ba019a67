// Command coffer keeps an encrypted store and opens two doors to it: a mounted
// directory and an S3 server. `coffer help` has the commands.
package main

import (
	"os"
	"syscall"

	"github.com/cofferfs/coffer/mount"
)

func main() {
	// Nothing of a store is another user's, and all of it is its owner's, whatever
	// umask the caller has.
	syscall.Umask(0o077)
	switch {
	case mount.IsGuard():
		os.Exit(mount.RunGuard())
	case mount.IsBackground():
		os.Exit(mount.RunBackground())
	}
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}
