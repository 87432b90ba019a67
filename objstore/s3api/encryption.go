package s3api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// encryptionDocument is the body of PutBucketEncryption.
type encryptionDocument struct {
	Rule []struct {
		Default *struct {
			SSEAlgorithm   string
			KMSMasterKeyID string
			Other          []unknown `xml:",any"`
		} `xml:"ApplyServerSideEncryptionByDefault"`
		BucketKeyEnabled       string
		BlockedEncryptionTypes *struct {
			EncryptionType []string
			Other          []unknown `xml:",any"`
		}
		Other []unknown `xml:",any"`
	}
	Other []unknown `xml:",any"`
}

func (q *request) putBucketEncryption() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	var doc encryptionDocument
	if err := q.readDocument(maxConfigBytes, "ServerSideEncryptionConfiguration", &doc); err != nil {
		return err
	}
	e, err := doc.encryption()
	if err != nil {
		return err
	}
	if err := q.s.store.SetBucketEncryption(q.ctx, q.caller, q.bucket, e); err != nil {
		return err
	}
	return q.send(http.StatusOK)
}

func (doc *encryptionDocument) encryption() (e objstore.BucketEncryption, err error) {
	if len(doc.Rule) != 1 {
		return e, errMalformedXML()
	}
	r := &doc.Rule[0]
	if r.Default == nil && r.BlockedEncryptionTypes == nil {
		return e, errMalformedXML()
	}
	if d := r.Default; d != nil {
		switch d.SSEAlgorithm {
		case "AES256":
			e.Mode = objstore.SSES3
		case "aws:kms":
			e.Mode = objstore.SSEKMS
		case "aws:kms:dsse":
			e.Mode = objstore.SSEDSSE
		default:
			return e, errMalformedXML()
		}
		e.KMSKeyID = strings.TrimSpace(d.KMSMasterKeyID)
		if e.KMSKeyID != "" && e.Mode == objstore.SSES3 {
			return e, newError(http.StatusBadRequest, "InvalidArgument",
				"a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
				field("ArgumentName", "ApplyServerSideEncryptionByDefault"))
		}
	}
	if e.BucketKey, err = parseBool(r.BucketKeyEnabled); err != nil {
		return e, err
	}
	if b := r.BlockedEncryptionTypes; b != nil {
		for _, t := range b.EncryptionType {
			switch t {
			case "SSE-C":
				e.BlockSSEC = true
			case "NONE":
			default:
				return e, errMalformedXML()
			}
		}
		if e.BlockSSEC && len(b.EncryptionType) > 1 {
			return e, errMalformedXML() // blocked and not
		}
	}
	return e, nil
}

// parseBool reads an element of a document that may be absent.
func parseBool(s string) (bool, error) {
	switch strings.TrimSpace(s) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, errMalformedXML()
}

// getBucketEncryption answers with SSE-S3 where nothing was ever set.
func (q *request) getBucketEncryption() error {
	e, err := q.s.store.BucketEncryption(q.ctx, q.caller, q.bucket)
	if err != nil {
		return err
	}
	var x xmlWriter
	x.root("ServerSideEncryptionConfiguration")
	x.open("Rule")
	x.open("ApplyServerSideEncryptionByDefault")
	x.text("SSEAlgorithm", sseName(max(e.Mode, objstore.SSES3)))
	x.textIf("KMSMasterKeyID", e.KMSKeyID)
	x.close("ApplyServerSideEncryptionByDefault")
	x.bool("BucketKeyEnabled", e.BucketKey)
	if e.BlockSSEC {
		x.open("BlockedEncryptionTypes")
		x.text("EncryptionType", "SSE-C")
		x.close("BlockedEncryptionTypes")
	}
	x.close("Rule")
	x.close("ServerSideEncryptionConfiguration")
	return q.sendXML(http.StatusOK, &x)
}

// deleteBucketEncryption takes the bucket back to SSE-S3, what was never set
// included.
func (q *request) deleteBucketEncryption() error {
	if err := q.s.store.SetBucketEncryption(q.ctx, q.caller, q.bucket, objstore.BucketEncryption{}); err != nil {
		return err
	}
	return q.send(http.StatusNoContent)
}

// objectEncryptionDocument is the body of UpdateObjectEncryption.
type objectEncryptionDocument struct {
	KMS *struct {
		BucketKeyEnabled string
		KMSKeyArn        string
		Other            []unknown `xml:",any"`
	} `xml:"SSE-KMS"`
	DSSE  *struct{}      `xml:"DSSE-KMS"`
	SSEC  *struct{}      `xml:"SSE-C"`
	Other []otherElement `xml:",any"`
}

// otherElement is an element that says nothing here.
type otherElement struct{}

// updateObjectEncryption seals an object's key under another key of the key
// service. The texts are those of the API reference (UpdateObjectEncryption).
func (q *request) updateObjectEncryption() error {
	version, err := q.versionID()
	if err != nil {
		return err
	}
	var doc objectEncryptionDocument
	if err := q.readDocument(maxConfigBytes, "ObjectEncryption", &doc); err != nil {
		return err
	}
	switch {
	case doc.DSSE != nil || doc.SSEC != nil:
		return errInvalidRequest("The UpdateObjectEncryption operation doesn't support updating the encryption type to DSSE-KMS or SSE-C. Modify the request to specify SSE-KMS for the updated encryption type, and then try again.")
	case doc.KMS == nil || len(doc.Other) > 0:
		return errInvalidRequest("Requests that modify an object encryption configuration require a valid new encryption type. Valid values are SSEKMS. Modify the request to specify SSE-KMS for the updated encryption type, and then try again.")
	}
	arn := strings.TrimSpace(doc.KMS.KMSKeyArn)
	switch {
	case arn == "":
		return errInvalidRequest("Requests that modify an object's encryption type to SSE-KMS require an AWS KMS key Amazon Resource Name (ARN). Modify the request to specify a KMS key ARN, and then try again.")
	case !strings.HasPrefix(arn, "arn:aws:kms:") || strings.Count(arn, ":") < 5 || !strings.Contains(arn, ":key/"):
		return errInvalidRequest("Requests that modify an object's encryption type to SSE-KMS require a valid AWS KMS key Amazon Resource Name (ARN). Confirm that you have a correctly formatted KMS key ARN in your request, and then try again.")
	}
	bucketKey, err := parseBool(doc.KMS.BucketKeyEnabled)
	if err != nil {
		return errInvalidRequest("The BucketKeyEnabled value isn't valid. Valid values are true or false. Modify the request to specify a valid value, and then try again.")
	}
	err = q.s.store.UpdateEncryption(q.ctx, q.caller, objstore.UpdateEncryptionRequest{
		Bucket: q.bucket, Key: q.key, Version: version,
		Encryption: objstore.Encryption{
			Mode: objstore.SSEKMS, KMSKeyID: arn, BucketKey: bucketKey, BucketKeyGiven: true,
			MayUse: q.mayUseKey("kms:GenerateDataKey", q.bucket, q.key),
		},
		Check: q.check(true),
	})
	var locked *objstore.Error
	if errors.As(err, &locked) && locked.Kind == objstore.KindAccessDenied && locked.Msg != "" {
		return errAccessDenied(locked.Msg)
	}
	if err != nil {
		return q.markerFails(err)
	}
	return q.send(http.StatusOK)
}

// sseName is a mode in headers and documents.
func sseName(mode objstore.SSEMode) string {
	switch mode {
	case objstore.SSEKMS:
		return "aws:kms"
	case objstore.SSEDSSE:
		return "aws:kms:dsse"
	}
	return "AES256"
}
