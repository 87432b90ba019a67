package integration

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What the guides of S3 servers tell their readers to type, typed against
// coffer with the real aws-cli.

// The keys of customers in these tests: 32 characters as text, and the file
// sse-c.key of 32 random bytes. Test keys.
const customerKeys = `
secret="thirty-two characters of a test!"
printf %s "$secret" >text.key
key=$(printf %s "$secret" | base64)
keymd5=$(printf %s "$secret" | openssl dgst -md5 -binary | base64)
other=$(printf %s "another key of 32 characters....." | head -c 32 | base64)
othermd5=$(printf %s "another key of 32 characters....." | head -c 32 | openssl dgst -md5 -binary | base64)
`

func TestGuideCustomerKeysByAPI(t *testing.T) {
	t.Parallel()
	for _, verify := range []string{"", "--no-verify-ssl"} {
		t.Run("aws "+verify, func(t *testing.T) {
			t.Parallel()
			h := NewHouse(t)
			mnt := h.Mount()
			sh := h.NewShell()
			h.writeFile("diary", content(1, 100_000))
			flags := verify + ` --endpoint-url "$ENDPOINT"`
			object := flags + " --bucket my-bucket --key my-diary"
			bykey := object + ` --sse-customer-algorithm AES256 --sse-customer-key "$key" --sse-customer-key-md5 "$keymd5"`
			sh.OK("aws s3api create-bucket " + flags + " --bucket my-bucket")
			sh.OK(customerKeys + "aws s3api put-object " + bykey + " --body diary")
			head := sh.OK(customerKeys + "aws s3api head-object " + bykey)
			for _, want := range []string{`"SSECustomerAlgorithm": "AES256"`, `"ContentLength": 100000`, `"SSECustomerKeyMD5"`} {
				if !strings.Contains(head, want) {
					t.Errorf("head-object lacks %s:\n%s", want, head)
				}
			}
			// The key as base64 with its MD5, as text, and from a file.
			for _, given := range []string{
				`--sse-customer-key "$key" --sse-customer-key-md5 "$keymd5"`, `--sse-customer-key "$secret"`, `--sse-customer-key fileb://text.key`,
			} {
				sh.OK(customerKeys + "rm -f back; aws s3api get-object " + object + " --sse-customer-algorithm AES256 " + given + " back; cmp diary back")
			}
			sh.Fails("400", customerKeys+"aws s3api head-object "+object)
			sh.Fails("InvalidRequest", customerKeys+"aws s3api get-object "+object+" back")
			sh.Fails("AccessDenied", customerKeys+"aws s3api get-object "+object+` --sse-customer-algorithm AES256 --sse-customer-key "$other" --sse-customer-key-md5 "$othermd5" back`)
			// The listing needs no key, in the shell neither; opening does.
			if out := sh.OK("aws s3 ls " + flags + " s3://my-bucket/"); !strings.Contains(out, " 100000 my-diary") {
				t.Errorf("ls: %s", out)
			}
			name := filepath.Join(mnt, "my-bucket/my-diary")
			if st, err := os.Stat(name); err != nil || st.Size() != 100_000 {
				t.Errorf("stat in the mount: %v, %v", st, err)
			}
			if _, err := os.ReadFile(name); !errors.Is(err, unix.ENOKEY) {
				t.Errorf("read in the mount without the key: %v", err)
			}
			h.Umount()
		})
	}
}

func TestGuideCustomerKeysByHighLevelCommands(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	h.Serve()
	sh := h.NewShell()
	sh.OK(`openssl rand 32 >sse-c.key; openssl rand 32 >new.key
aws s3 mb s3://bucket --endpoint-url "$ENDPOINT"; aws s3 mb s3://second --endpoint-url "$ENDPOINT"`)
	for _, size := range []int{0, 1000, 8<<20 - 1, 8 << 20, 21<<20 + 7} { // aws-cli begins a multipart upload at 8 MiB
		want := content(int64(size), size)
		h.writeFile("file.txt", want)
		for _, cp := range []string{
			`aws s3 cp file.txt s3://bucket/ --sse-c-key fileb://sse-c.key --sse-c AES256`,
			`aws s3 cp s3://bucket/file.txt back --sse-c-key fileb://sse-c.key --sse-c AES256`,
			// Between buckets: to another key, and to the bucket's own encryption.
			`aws s3 cp s3://bucket/file.txt s3://second/file.txt --sse-c-copy-source AES256 --sse-c-copy-source-key fileb://sse-c.key --sse-c AES256 --sse-c-key fileb://new.key`,
			`aws s3 cp s3://second/file.txt back2 --sse-c-key fileb://new.key --sse-c AES256`,
			`aws s3 cp s3://bucket/file.txt s3://second/plain --sse-c-copy-source AES256 --sse-c-copy-source-key fileb://sse-c.key`,
			`aws s3 cp s3://second/plain back3`,
		} {
			sh.OK(cp + ` --no-progress --endpoint-url "$ENDPOINT"`)
		}
		for _, back := range []string{"back", "back2", "back3"} {
			mustHold(t, h.Path(back), want)
		}
	}
	sh.Fails("403", `aws s3 cp s3://bucket/file.txt nothing --sse-c-key fileb://new.key --sse-c AES256 --endpoint-url "$ENDPOINT"`)
	// The key as text.
	h.writeFile("file.txt", []byte("by text"))
	sh.OK(customerKeys + `aws s3 cp file.txt s3://bucket/text --sse-c-key "$secret" --sse-c AES256 --endpoint-url "$ENDPOINT"
aws s3 cp s3://bucket/text back --sse-c-key "$secret" --sse-c AES256 --endpoint-url "$ENDPOINT"; cmp file.txt back`)
	// A tree.
	for _, name := range []string{"tree/a", "tree/b/c", "tree/b/d e"} {
		h.writeFile(name, []byte(name))
	}
	sh.OK(`aws s3 sync tree s3://bucket/tree --sse-c-key fileb://sse-c.key --sse-c AES256 --endpoint-url "$ENDPOINT"
aws s3 sync s3://bucket/tree fetched --sse-c-key fileb://sse-c.key --sse-c AES256 --endpoint-url "$ENDPOINT"
diff -r tree fetched`)
	h.Signal(unix.SIGTERM)
}

func TestGuideKMSKeys(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	mnt := h.Mount()
	sh := h.NewShell()
	h.OK("key", "create", "my-key")
	sh.OK(`aws s3 mb s3://bucket --endpoint-url "$ENDPOINT"`)
	for _, size := range []int{0, 5000, 9 << 20} {
		want := content(int64(size), size)
		h.writeFile("file.txt", want)
		sh.OK(`aws s3 cp file.txt s3://bucket/file --no-progress --sse aws:kms --sse-kms-key-id my-key --endpoint-url "$ENDPOINT"
aws s3 cp s3://bucket/file back --no-progress --endpoint-url "$ENDPOINT"; cmp file.txt back`)
		mustHold(t, filepath.Join(mnt, "bucket/file"), want)
		head := sh.OK(`aws s3api head-object --bucket bucket --key file --endpoint-url "$ENDPOINT"`)
		for _, want := range []string{`"ServerSideEncryption": "aws:kms"`, `"SSEKMSKeyId": "arn:aws:kms:`, `key/my-key"`} {
			if !strings.Contains(head, want) {
				t.Errorf("head-object lacks %s:\n%s", want, head)
			}
		}
	}
	sh.Fails("KMS.NotFoundException", `aws s3 cp file.txt s3://bucket/never --sse aws:kms --sse-kms-key-id no-such-key --endpoint-url "$ENDPOINT"`)
	// A bucket's default, for both doors.
	sh.OK(`aws s3api put-bucket-encryption --bucket bucket --endpoint-url "$ENDPOINT" --server-side-encryption-configuration \
 '{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"my-key"},"BucketKeyEnabled":true}]}'`)
	want := []byte("written in the mount")
	if err := os.WriteFile(filepath.Join(mnt, "bucket/mounted"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	if head := sh.OK(`aws s3api head-object --bucket bucket --key mounted --endpoint-url "$ENDPOINT"`); !strings.Contains(head, `"aws:kms"`) {
		t.Errorf("a file written in a bucket whose default is SSE-KMS:\n%s", head)
	}
	// Disabling the key locks what it protects, in both doors; enabling it opens it again.
	h.OK("key", "disable", "my-key")
	sh.Fails("KMS.DisabledException", `aws s3api get-object --bucket bucket --key file back --endpoint-url "$ENDPOINT"`)
	f, err := os.OpenFile(filepath.Join(mnt, "bucket/file"), os.O_RDONLY, 0)
	if err == nil {
		_, err = f.Read(make([]byte, 1))
		f.Close()
	}
	if err == nil {
		t.Error("a file under a disabled key can be opened anew")
	}
	sh.OK(`aws s3 ls s3://bucket/ --endpoint-url "$ENDPOINT"`)
	h.OK("key", "enable", "my-key")
	sh.OK(`aws s3 cp s3://bucket/mounted back --endpoint-url "$ENDPOINT"`)
	if got, err := os.ReadFile(h.Path("back")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("after enabling the key: %q, %v", got, err)
	}
	h.Umount()
}
