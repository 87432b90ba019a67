package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
	"github.com/cofferfs/coffer/objstore"
)

func bucketCommand() *cli.Command {
	return &cli.Command{
		Name:      "bucket",
		Usage:     "show and change settings of a bucket",
		UsageText: "coffer bucket etag [--store DIR] BUCKET [opaque|md5]",
		Description: `Shows and changes what can be chosen for each bucket of a store, through its
running daemon. Buckets themselves are made by mkdir in a mount and by S3.
coffer bucket etag --help tells about etag.`,
		Subcommands: []*cli.Command{bucketETagCommand()},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("there is no command %q", "bucket "+c.Args().First())
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

func bucketETagCommand() *cli.Command {
	return &cli.Command{
		Name:      "etag",
		Usage:     "show or choose what the ETags of a bucket's new objects are",
		ArgsUsage: "BUCKET [opaque|md5]",
		Description: `With BUCKET alone, prints which it is. md5, the default, is what AWS makes of an
object's bytes. MD5 takes about half of the processor time of a large upload;
with opaque it is computed only for a client that sends Content-MD5, which is
verified as ever, and ETags have a form that no client takes for an MD5, as
those of files written through the mount have. Checksums (CRC64NVME, SHA256 and
others) are the same with both.

The choice is durable and counts at once, for objects and multipart uploads that
are begun from then on; those that are there keep their ETags. Clients that
insist on AWS's ETags, of multipart uploads for example, want md5 or have a
switch (rclone: use_multipart_etag = false).

   coffer bucket etag photos opaque`,
		Flags: []cli.Flag{storeFlag},
		Action: func(c *cli.Context) error {
			bucket, choose := c.Args().Get(0), c.Args().Get(1)
			switch {
			case bucket == "":
				return usagef("bucket etag needs a bucket")
			case c.NArg() > 2:
				return usagef("bucket etag takes a bucket and opaque or md5, but was given %d arguments", c.NArg())
			case c.NArg() == 2:
				if _, err := objstore.ParseETagForm(choose); err != nil {
					return usagef("ETags are opaque or md5, not %q", choose)
				}
			}
			form, err := mount.RunBucketETag(c.Context, config(c), bucket, choose)
			switch {
			case err != nil:
				return err
			case choose == "":
				fmt.Fprintln(c.App.Writer, form)
			default:
				fmt.Fprintf(c.App.Writer, "new objects in bucket %s get %s ETags\n", bucket, form)
			}
			return nil
		},
	}
}
