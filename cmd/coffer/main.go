// Command coffer keeps an encrypted store and opens two doors to it: a mounted
// directory and an S3 server. `coffer help` has the commands.
package main

import (
	"os"

	"github.com/cofferfs/coffer/mount"
)

func main() {
	switch {
	case mount.IsGuard():
		os.Exit(mount.RunGuard())
	case mount.IsBackground():
		os.Exit(mount.RunBackground())
	}
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}
