package deps
import (
_ "github.com/hanwen/go-fuse/v2/fuse"
_ "github.com/hanwen/go-fuse/v2/posixtest"
_ "github.com/minio/sio"
_ "github.com/cockroachdb/pebble/v2"
_ "github.com/urfave/cli/v2"
_ "github.com/aws/aws-sdk-go-v2/aws"
_ "github.com/aws/aws-sdk-go-v2/service/s3"
_ "github.com/aws/aws-sdk-go-v2/credentials"
_ "github.com/aws/aws-sdk-go-v2/config"
_ "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
_ "github.com/minio/crc64nvme"
_ "golang.org/x/crypto/argon2"
_ "golang.org/x/sys/unix"
_ "golang.org/x/sync/errgroup"
_ "pgregory.net/rapid"
)
