package main

import (
	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "make a store, without mounting it",
		Description: `Makes a store in a directory that is empty or does not exist. With neither
--key-file nor --passphrase-file a key file is made outside of the store. A key
file that exists is used, never overwritten. Next: coffer mount.`,
		Flags: []cli.Flag{storeFlag, passphraseFlag, keyFileFlag},
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			r, err := mount.RunInit(c.Context, config(c))
			if err != nil {
				return err
			}
			printNotes(c.App.ErrWriter, r.Warnings...)
			printMade(c.App.Writer, r)
			return nil
		},
	}
}
