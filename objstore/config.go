package objstore

import "strings"

// ConfigName names a configuration document of a bucket. Names are on disk. They
// are those of the subresources of S3; of the families below that hold many
// documents the name is that of the family, a slash and the document's id.
type ConfigName string

// Documents of which a bucket has at most one.
const (
	ConfigPolicy         ConfigName = "policy"
	ConfigCORS           ConfigName = "cors"
	ConfigLifecycle      ConfigName = "lifecycle"
	ConfigTagging        ConfigName = "tagging"
	ConfigNotification   ConfigName = "notification"
	ConfigLogging        ConfigName = "logging"
	ConfigWebsite        ConfigName = "website"
	ConfigAccelerate     ConfigName = "accelerate"
	ConfigRequestPayment ConfigName = "requestPayment"
)

// Families of documents with ids, for ConfigFamily.Name.
const (
	ConfigMetrics            ConfigFamily = "metrics"
	ConfigAnalytics          ConfigFamily = "analytics"
	ConfigInventory          ConfigFamily = "inventory"
	ConfigIntelligentTiering ConfigFamily = "intelligent-tiering"
)

// ConfigFamily is a family of documents with ids.
type ConfigFamily string

// Name returns the name of the document with that id.
func (f ConfigFamily) Name(id string) ConfigName { return ConfigName(string(f) + "/" + id) }

// Limits of configuration documents.
const (
	MaxConfigSize = 255 << 10 // bytes of a document: its record is a value of a metadata store
	MaxConfigID   = 64        // bytes of an id (AWS: "PutBucketMetricsConfiguration")
	MaxConfigIDs  = 1000      // documents of one family in a bucket (AWS: "TooManyConfigurations")
)

// configBits are the bits of ConfigSet by name or family. They are on disk. 4, 5 and
// 11 are not used: public access and ownership are in the bucket's record, and there
// is no replication.
var configBits = map[string]uint{
	string(ConfigPolicy):             0,
	string(ConfigCORS):               1,
	string(ConfigLifecycle):          2,
	string(ConfigTagging):            3,
	string(ConfigNotification):       6,
	string(ConfigLogging):            7,
	string(ConfigWebsite):            8,
	string(ConfigAccelerate):         9,
	string(ConfigRequestPayment):     10,
	string(ConfigMetrics):            12,
	string(ConfigAnalytics):          13,
	string(ConfigInventory):          14,
	string(ConfigIntelligentTiering): 15,
}

// Family returns the family of a name with an id, and whether it is one.
func (n ConfigName) Family() (f ConfigFamily, id string, ok bool) {
	family, id, ok := strings.Cut(string(n), "/")
	return ConfigFamily(family), id, ok
}

// Valid reports whether there can be a document of that name.
func (n ConfigName) Valid() bool {
	family, id, many := n.Family()
	bit, ok := configBits[string(family)]
	return ok && many == (bit >= configBits[string(ConfigMetrics)]) && len(id) <= MaxConfigID && many == (id != "")
}

// ConfigSet is the set of the documents that a bucket has: a bit for each name
// and for each family.
type ConfigSet uint32

// KnownConfigs are the bits that have a meaning.
const KnownConfigs ConfigSet = (1<<16 - 1) &^ (1<<4 | 1<<5 | 1<<11)

// Of returns the set with the bit of a valid name alone.
func (n ConfigName) Of() ConfigSet {
	family, _, _ := n.Family()
	return 1 << configBits[string(family)]
}

// NamedConfig is a document with its name.
type NamedConfig struct {
	Name     ConfigName
	Document []byte
}
