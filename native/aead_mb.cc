// intel-ipsec-mb backend. AES-GCM goes by the library's direct calls: its job and burst interfaces take such packets one by
// one as well, and cost 5 to 10 ns more for each. ChaCha20-Poly1305 goes by jobs, each done when it is submitted: a job takes
// 155 to 500 ns for 64 to 1,400 octets where the three direct calls take 240 to 590.
#include "aead_mb.h"

#if defined(__x86_64__) && __has_include(<intel-ipsec-mb.h>)
#define NO_COMPAT_IMB_API_053
#include <intel-ipsec-mb.h>
#endif

// Version 1.3 and what follows below 2: others lay their structures out in another way.
#if defined(IMB_VERSION_NUM) && IMB_VERSION_NUM >= 0x10300 && IMB_VERSION_NUM < 0x20000
#include <dlfcn.h>
#include <openssl/crypto.h>

#include "aead_parts.h"

namespace tsvpn {
namespace {

// ---- the library ----------------------------------------------------------------------------------------------------

struct Gcm {
  aes_gcm_pre_t expand;
  aes_gcm_enc_dec_t seal, open;
};

struct Library {
  IMB_MGR* (*allocate)(uint64_t);
  void (*initialize)(IMB_MGR*, IMB_ARCH*);
  void (*release)(IMB_MGR*);
  /** For the CPU at hand. */
  Gcm gcm128, gcm192, gcm256;
};

Library g_mb;

IMB_MGR* newManager() {
  IMB_MGR* manager = g_mb.allocate(0);
  IMB_ARCH arch;
  if (manager != nullptr) g_mb.initialize(manager, &arch);
  return manager;
}

template <class Function>
bool find(void* library, const char* name, Function* out) {
  *out = reinterpret_cast<Function>(dlsym(library, name));
  return *out != nullptr;
}

std::string numbers(unsigned version) {
  return std::to_string(version >> 16) + '.' + std::to_string(version >> 8 & 0xff);
}

/** @returns null for a CPU without AES instructions */
const char* instructionsOf(uint32_t arch) {
  // Some versions have another one between these two.
  if (arch >= IMB_ARCH_AVX512) return "AVX512";
  if (arch >= IMB_ARCH_AVX2) return "AVX2";
  if (arch > IMB_ARCH_SSE) return "AVX";
  return arch == IMB_ARCH_SSE ? "SSE" : nullptr;
}

/** @returns why not, empty on success */
std::string takeCalls(const IMB_MGR& m, std::string* version) {
  const uint64_t needed = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
  const char* instructions = instructionsOf(m.used_arch);
  if (instructions == nullptr || (m.features & needed) != needed) return "this CPU has no AES-NI and PCLMULQDQ";
  *version += std::string(" (") + instructions + ')';
  g_mb.gcm128 = {m.gcm128_pre, m.gcm128_enc, m.gcm128_dec};
  g_mb.gcm192 = {m.gcm192_pre, m.gcm192_enc, m.gcm192_dec};
  g_mb.gcm256 = {m.gcm256_pre, m.gcm256_enc, m.gcm256_dec};
  return "";
}

// ---- ciphers --------------------------------------------------------------------------------------------------------

class MbGcm final : public EspCipher {
 public:
  MbGcm(const Gcm& calls, const uint8_t* key, Direction direction)
      : run_(direction == Direction::seal ? calls.seal : calls.open) {
    calls.expand(key, &key_);
  }
  ~MbGcm() override {
    OPENSSL_cleanse(&key_, sizeof key_);
    OPENSSL_cleanse(&context_, sizeof context_);
    OPENSSL_cleanse(&parts, sizeof parts);
  }

  bool seal(uint8_t* packet, size_t length, uint32_t sequenceHigh) override {
    run(packet, length, sequenceHigh, nullptr);
    return true;
  }

  bool open(uint8_t* packet, size_t length, uint32_t sequenceHigh) override {
    uint8_t icv[16];
    run(packet, length, sequenceHigh, icv);
    return CRYPTO_memcmp(icv, parts.icv, shape.icvLength) == 0;
  }

  AeadParts parts{};

 private:
  /** @param icv where the ICV goes; null for its place in the packet */
  void run(uint8_t* packet, size_t length, uint32_t sequenceHigh, uint8_t* icv) {
    AeadParts& p = parts;
    p.set(packet, length, sequenceHigh, shape.icvLength);
    run_(&key_, &context_, p.text, p.text, p.textLength, p.nonce, p.header, p.headerLength, icv == nullptr ? p.icv : icv,
         shape.icvLength);
  }

  // The header asks for this alignment, but only where a macro LINUX is defined. Round keys and powers of H.
  alignas(64) gcm_key_data key_;
  gcm_context_data context_{};
  const aes_gcm_enc_dec_t run_;
};

/** Where jobs go: 200 KB that a thread makes when it first needs them. Holds pointers to keys, but no keys. */
class Manager {
 public:
  ~Manager() {
    if (manager_ != nullptr) g_mb.release(manager_);
  }
  /** @returns null when there is no memory */
  IMB_MGR* get() {
    if (manager_ == nullptr) manager_ = newManager();
    return manager_;
  }

 private:
  IMB_MGR* manager_ = nullptr;
};

thread_local Manager t_manager;

class MbChachaPoly final : public EspCipher {
 public:
  explicit MbChachaPoly(const uint8_t* key) { memcpy(key_, key, sizeof key_); }
  ~MbChachaPoly() override {
    OPENSSL_cleanse(key_, sizeof key_);
    OPENSSL_cleanse(&parts, sizeof parts);
  }

  bool seal(uint8_t* packet, size_t length, uint32_t sequenceHigh) override {
    parts.set(packet, length, sequenceHigh, shape.icvLength);
    return run(IMB_DIR_ENCRYPT, parts.icv);
  }

  bool open(uint8_t* packet, size_t length, uint32_t sequenceHigh) override {
    uint8_t icv[16];
    parts.set(packet, length, sequenceHigh, shape.icvLength);
    return run(IMB_DIR_DECRYPT, icv) && CRYPTO_memcmp(icv, parts.icv, shape.icvLength) == 0;
  }

  AeadParts parts{};

 private:
  bool run(IMB_CIPHER_DIRECTION direction, uint8_t* icv) {
    IMB_MGR* manager = t_manager.get();
    if (manager == nullptr) return false;
    IMB_JOB* job = manager->get_next_job(manager);
    job->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
    job->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
    job->cipher_direction = direction;
    job->chain_order = direction == IMB_DIR_ENCRYPT ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    job->enc_keys = job->dec_keys = key_;
    job->key_len_in_bytes = sizeof key_;
    job->iv = parts.nonce;
    job->iv_len_in_bytes = sizeof parts.nonce;
    job->u.CHACHA20_POLY1305.aad = parts.header;
    job->u.CHACHA20_POLY1305.aad_len_in_bytes = parts.headerLength;
    job->src = job->dst = parts.text;
    job->cipher_start_src_offset_in_bytes = job->hash_start_src_offset_in_bytes = 0;
    job->msg_len_to_cipher_in_bytes = job->msg_len_to_hash_in_bytes = parts.textLength;
    job->auth_tag_output = icv;
    job->auth_tag_output_len_in_bytes = shape.icvLength;
    job = manager->submit_job_nocheck(manager);
    return job != nullptr && job->status == IMB_STATUS_COMPLETED;
  }

  alignas(64) uint8_t key_[32];
};

template <class Cipher>
std::unique_ptr<EspCipher> finished(std::unique_ptr<Cipher> cipher, const EspSuite& suite, const SaKeys& keys) {
  cipher->shape = suite.shape();
  cipher->parts.key(keys.encrKey + suite.encr->keyBits / 8, keys.esn);
  return cipher;
}

}  // namespace

std::string loadMb(std::string* version) {
  void* library = dlopen(("libIPSec_MB.so." + std::to_string(IMB_VERSION_NUM >> 16)).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return dlerror();
  unsigned (*getVersion)();
  if (!find(library, "imb_get_version", &getVersion) || !find(library, "alloc_mb_mgr", &g_mb.allocate) ||
      !find(library, "init_mb_mgr_auto", &g_mb.initialize) || !find(library, "free_mb_mgr", &g_mb.release)) {
    return dlerror();
  }
  const std::string found = numbers(getVersion());
  *version += ' ' + found;
  // Places and sizes in the library's structures are those of the header we were built with.
  if (found != numbers(IMB_VERSION_NUM)) return "the addon was built for version " + numbers(IMB_VERSION_NUM);
  IMB_MGR* manager = newManager();
  if (manager == nullptr) return "out of memory";
  std::string whyNot = takeCalls(*manager, version);
  g_mb.release(manager);
  return whyNot;
}

std::unique_ptr<EspCipher> makeMbCipher(const EspSuite& suite, const SaKeys& keys, Direction direction) {
  switch (suite.encr->kind) {
    case EncrKind::gcm: {
      const Gcm& calls = suite.encr->keyBits == 128 ? g_mb.gcm128 : suite.encr->keyBits == 192 ? g_mb.gcm192 : g_mb.gcm256;
      return finished(std::make_unique<MbGcm>(calls, keys.encrKey, direction), suite, keys);
    }
    case EncrKind::chachaPoly:
      return finished(std::make_unique<MbChachaPoly>(keys.encrKey), suite, keys);
    case EncrKind::cbc:
      break;
  }
  return nullptr;
}

}  // namespace tsvpn

#else

namespace tsvpn {

std::string loadMb(std::string*) {
  return "the addon was built without its header (1.3 or later, below 2)";
}

std::unique_ptr<EspCipher> makeMbCipher(const EspSuite&, const SaKeys&, Direction) { return nullptr; }

}  // namespace tsvpn

#endif
