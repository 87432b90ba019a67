package main

import (
	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "serve a store through S3 alone, in the foreground",
		Description: `Opens the store's S3 server and logs to standard error until SIGTERM or SIGINT
ends it; a second signal cuts the waiting for requests short. A store that does
not exist is made, as by coffer init. coffer mount can add mounts meanwhile.`,
		Flags: []cli.Flag{storeFlag, listenFlag, httpFlag, keyFileFlag, passphraseFlag, debugFlag},
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			return mount.RunServe(c.Context, config(c), func(r mount.StartReport) {
				printNotes(c.App.ErrWriter, r.Warnings...)
				printMade(told(c), r)
				printEndpoint(told(c), r)
			})
		},
	}
}
