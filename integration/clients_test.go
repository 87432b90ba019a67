package integration

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Programs that people have, against the S3 door and the mount.

// clientTree makes the directory "tree" of the house, with what clients trip over,
// and returns its contents by name. It holds a file that every client uploads in parts.
func (h *House) clientTree() map[string][]byte {
	h.t.Helper()
	tree := map[string][]byte{"large": content(7, 18<<20+3), "empty": nil, "d/e/f": []byte("deep"), "d/with space & plus+": content(8, 70_000), "ünïcode/κόσμε": []byte("odd")}
	for i := range 20 {
		tree[fmt.Sprintf("many/%02d", i)] = content(int64(i), i*1000)
	}
	for name, b := range tree {
		h.writeFile("tree/"+name, b)
	}
	return tree
}

// same fails the test unless two directories of the house hold the same.
func (h *House) same(a, b string) {
	h.t.Helper()
	if r := h.Exec(nil, "diff", "-r", a, b); r.Code != 0 {
		h.t.Fatalf("%s and %s differ: %v", a, b, r)
	}
}

func TestClientRclone(t *testing.T) {
	t.Parallel()
	rclone := need(t, "rclone", "rclone")
	h := NewHouse(t)
	mnt := h.Mount()
	sh := h.NewShell()
	env := h.Env()
	// rclone of Debian 12 refuses a CA bundle that the environment names: it has a flag of its own.
	sh.env = append(sh.env, "AWS_CA_BUNDLE=", "RCLONE_CONFIG_C_TYPE=s3", "RCLONE_CONFIG_C_PROVIDER=Other", "RCLONE_CONFIG_C_ENV_AUTH=true",
		"RCLONE_CONFIG_C_ENDPOINT="+env["AWS_ENDPOINT_URL"], "RCLONE_CONFIG_C_REGION="+env["AWS_DEFAULT_REGION"],
		"RCLONE_CA_CERT="+env["AWS_CA_BUNDLE"], "RCLONE_S3_CHUNK_SIZE=5M", "RCLONE_S3_UPLOAD_CUTOFF=8M", "RCLONE_RETRIES=1", "RCLONE="+rclone)
	h.clientTree()
	sh.OK(`"$RCLONE" mkdir c:box; "$RCLONE" copy tree c:box/tree`)
	h.same("tree", filepath.Join(mnt, "box/tree"))
	sh.OK(`"$RCLONE" check --download tree c:box/tree; "$RCLONE" check tree c:box/tree`)
	if out := sh.Run(`"$RCLONE" -v copy tree c:box/tree`); out.Code != 0 || strings.Contains(out.Stderr, "Copied (") {
		t.Errorf("a second copy copied again: %v", out)
	}
	sh.OK(`"$RCLONE" copy c:box/tree back; diff -r tree back`)
	sh.OK(`"$RCLONE" copy c:box/tree c:box/second; "$RCLONE" moveto c:box/second/large c:box/moved`) // copied by the server
	h.same("tree/large", filepath.Join(mnt, "box/moved"))
	sh.OK(`rm tree/many/0*; echo changed >tree/d/e/f; "$RCLONE" sync tree c:box/tree; "$RCLONE" check tree c:box/tree`)
	h.same("tree", filepath.Join(mnt, "box/tree"))
	sh.OK(`SSEC="--s3-sse-customer-algorithm AES256 --s3-sse-customer-key 0123456789abcdef0123456789abcdef"
"$RCLONE" copy $SSEC tree c:box/keyed; "$RCLONE" copy $SSEC c:box/keyed keyed; diff -r tree keyed
"$RCLONE" cat c:box/keyed/large >stolen || true; test ! -s stolen`)
	sh.OK(`"$RCLONE" purge c:box`)
	if _, err := os.Stat(filepath.Join(mnt, "box")); !os.IsNotExist(err) {
		t.Errorf("after purge: %v", err)
	}
	h.Umount()
}

func TestClientS3cmd(t *testing.T) {
	t.Parallel()
	s3cmd := need(t, "s3cmd", "s3cmd")
	h := NewHouse(t)
	mnt := h.Mount()
	sh := h.NewShell()
	env := h.Env()
	u, err := url.Parse(env["AWS_ENDPOINT_URL"])
	if err != nil {
		t.Fatal(err)
	}
	h.writeFile("s3cfg", fmt.Appendf(nil, "[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = True\nca_certs_file = %s\nbucket_location = %s\nmultipart_chunk_size_mb = 5\n",
		env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], u.Host, u.Host, env["AWS_CA_BUNDLE"], env["AWS_DEFAULT_REGION"]))
	sh.env = append(sh.env, "S3CMD="+s3cmd+" --no-progress -c "+h.Path("s3cfg"))
	h.clientTree()
	sh.OK(`$S3CMD mb s3://box; $S3CMD sync tree s3://box/; $S3CMD put tree/large s3://box/large`)
	h.same("tree", filepath.Join(mnt, "box/tree"))
	sh.OK(`mkdir back; $S3CMD get s3://box/large back.large; cmp tree/large back.large; $S3CMD sync s3://box/tree/ back/; diff -r tree back`)
	if out := sh.OK(`$S3CMD ls s3://box/tree/many/`); strings.Count(out, "s3://box/tree/many/") != 20 {
		t.Errorf("ls: %s", out)
	}
	if out := sh.OK(`$S3CMD info s3://box/tree/d/e/f`); !strings.Contains(out, "File size: 4") {
		t.Errorf("info: %s", out)
	}
	sh.OK(`$S3CMD info s3://box; $S3CMD du s3://box`)
	sh.OK(`$S3CMD cp s3://box/large s3://box/copy; $S3CMD mv s3://box/copy s3://box/moved; $S3CMD modify --add-header=x-amz-meta-k:v s3://box/moved`)
	h.same("tree/large", filepath.Join(mnt, "box/moved"))
	sh.OK(`rm tree/many/1*; $S3CMD sync --delete-removed tree/ s3://box/tree/`)
	h.same("tree", filepath.Join(mnt, "box/tree"))
	sh.OK(`$S3CMD put --server-side-encryption tree/d/e/f s3://box/sse; $S3CMD del --recursive --force s3://box; $S3CMD rb s3://box`)
	if _, err := os.Stat(filepath.Join(mnt, "box")); !os.IsNotExist(err) {
		t.Errorf("after rb: %v", err)
	}
	h.Umount()
}

// A backup repository through each door, both in one store.
func TestClientRestic(t *testing.T) {
	t.Parallel()
	restic := need(t, "restic", "restic")
	h := NewHouse(t)
	mnt := h.Mount()
	sh := h.NewShell()
	env := h.Env()
	sh.env = append(sh.env, "RESTIC_PASSWORD=a password of a test", "RESTIC_CACHE_DIR="+h.Path("cache"),
		"RESTIC="+restic+" -q --cacert "+env["AWS_CA_BUNDLE"], "S3REPO=s3:"+env["AWS_ENDPOINT_URL"]+"/backup/repo", "DIRREPO="+filepath.Join(mnt, "backup/dirrepo"))
	h.clientTree()
	for _, repo := range []string{"$S3REPO", "$DIRREPO"} {
		sh.OK(`rm -rf restored; cp -a tree tree2; R="$RESTIC -r ` + repo + `"
$R init; $R backup tree2; $R check --read-data
rm tree2/large; echo more >tree2/more; $R backup tree2; $R forget --keep-last 1 --prune; $R check --read-data
$R restore latest --target restored; diff -r tree2 "$(find restored -name tree2)"; rm -rf tree2`)
	}
	// What one door wrote is a repository through the other.
	sh.OK(`$RESTIC -r ` + filepath.Join(mnt, "backup/repo") + ` check --read-data; $RESTIC -r "s3:${S3REPO#s3:}/../dirrepo" check || $RESTIC -r "` + "s3:" + env["AWS_ENDPOINT_URL"] + `/backup/dirrepo" check --read-data`)
	h.Umount()
}

func TestClientS3fs(t *testing.T) {
	NeedFUSE(t)
	s3fs := need(t, "s3fs", "s3fs")
	h := NewHouse(t)
	mnt := h.Mount()
	sh := h.NewShell()
	env := h.Env()
	if err := os.Mkdir(filepath.Join(mnt, "box"), 0o755); err != nil {
		t.Fatal(err)
	}
	passwd := h.writeFile("passwd", fmt.Appendf(nil, "%s:%s\n", env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]))
	if err := os.Chmod(passwd, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := h.Mkdir("s3fs")
	sh.env = append(sh.env, "CURL_CA_BUNDLE="+env["AWS_CA_BUNDLE"])
	t.Cleanup(func() {
		if len(mountsBelow(dir)) > 0 {
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	sh.OK(s3fs + ` box ` + dir + ` -o url=` + env["AWS_ENDPOINT_URL"] + `,use_path_request_style,passwd_file=` + passwd + `,multipart_size=5`)
	h.Await("s3fs", func() bool { return len(mountsBelow(dir)) == 1 })
	h.clientTree()
	sh.OK(`cp -r tree s3fs/; diff -r tree s3fs/tree; mv s3fs/tree/large s3fs/moved; rm -r s3fs/tree/many; echo more >>s3fs/tree/d/e/f; rm -r tree/many; mv tree/large moved; echo more >>tree/d/e/f`)
	h.same("tree", filepath.Join(mnt, "box/tree"))
	h.same("moved", filepath.Join(mnt, "box/moved"))
	if err := os.WriteFile(filepath.Join(mnt, "box/from coffer"), []byte("both ways"), 0o644); err != nil {
		t.Fatal(err)
	}
	mustHold(t, filepath.Join(dir, "from coffer"), []byte("both ways"))
	if err := unix.Unmount(dir, 0); err != nil {
		t.Error(err)
	}
	h.Umount()
}

// runSDK runs a program of another SDK in a copy of its directory of testdata.
func runSDK(t *testing.T, name, script string) {
	h := NewHouse(t)
	mnt := h.Mount()
	sh := h.NewShell()
	src, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if r := h.Exec(nil, "cp", "-r", src, h.Path("sdk")); r.Code != 0 {
		t.Fatal(r)
	}
	for _, v := range []string{"GOPATH", "GOMODCACHE", "GOCACHE", "GOFLAGS", "GOPROXY"} {
		if out, err := exec.Command("go", "env", v).Output(); err == nil && len(out) > 1 {
			sh.env = append(sh.env, v+"="+strings.TrimSpace(string(out)))
		}
	}
	sh.env = append(sh.env, "MOUNT="+mnt)
	sh.OK("cd sdk; " + script)
	h.Umount()
}

func TestClientMinioGo(t *testing.T) {
	t.Parallel()
	runSDK(t, "miniogo", "go run .")
}

func TestClientAWSSDKForJavaScript(t *testing.T) {
	t.Parallel()
	need(t, "node", "nodejs")
	need(t, "npm", "npm")
	runSDK(t, "awsjs", "npm ci --no-audit --no-fund --loglevel=error >&2; NODE_EXTRA_CA_CERTS=\"$AWS_CA_BUNDLE\" node client.mjs")
}
