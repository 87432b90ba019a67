package main

import (
	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
)

func umountCommand() *cli.Command {
	return &cli.Command{
		Name:      "umount",
		Usage:     "flush a mount, remove it, and wait until it is safe",
		ArgsUsage: "MOUNTPOINT",
		Description: `When it returns 0, everything that was written through the mount is durable. A
mount that is in use stays, and what uses it is named. With the last mount of a
daemon that coffer mount started the daemon ends, and this waits for it; a
daemon that coffer serve started goes on. The mount of a daemon that has died
is cleaned up.`,
		Action: func(c *cli.Context) error {
			dir, err := oneArg(c, "mount point")
			if err != nil {
				return err
			}
			return mount.RunUmount(c.Context, dir, func(s string) { printNotes(c.App.ErrWriter, s) })
		},
	}
}
