package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
)

func envCommand() *cli.Command {
	return &cli.Command{
		Name:  "env",
		Usage: "print what S3 clients need, as lines for a shell",
		Description: `Prints export lines for the running daemon of the store; they hold the secret
access key:

   eval "$(coffer env)"
   aws s3 ls

An aws-cli older than 2.13 (or 1.29) does not know AWS_ENDPOINT_URL; for it:

   alias aws='aws --endpoint-url "$AWS_ENDPOINT_URL"'`,
		Flags: []cli.Flag{storeFlag},
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			env, err := mount.RunEnv(c.Context, config(c))
			if err != nil {
				return err
			}
			printEnv(c.App.Writer, env)
			return nil
		},
	}
}

func printEnv(w io.Writer, env mount.Env) {
	for _, v := range [...][2]string{
		{"AWS_ACCESS_KEY_ID", env.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", env.SecretAccessKey},
		{"AWS_DEFAULT_REGION", env.Region},
		{"AWS_REGION", env.Region}, // the only one that the SDK for JavaScript reads
		{"AWS_ENDPOINT_URL", env.EndpointURL},
		{"AWS_CA_BUNDLE", env.CABundle},
	} {
		fmt.Fprintf(w, "export %s=%s\n", v[0], mount.ShellQuote(v[1]))
	}
}
