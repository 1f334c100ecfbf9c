// intel-ipsec-mb backend, on the library's direct calls: one packet, one call, no manager and no queue. Its job and burst
// interfaces take AES-GCM packets one by one as well, and cost 5 to 10 ns more for each.
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

/** Calls for the CPU at hand, copied out of a manager that is freed again. */
struct Library {
  Gcm gcm128, gcm192, gcm256;
  chacha_poly_init_t chachaInit;
  chacha_poly_enc_dec_update_t chachaSeal, chachaOpen;
  chacha_poly_finalize_t chachaFinish;
};

Library g_mb;

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
  g_mb = {{m.gcm128_pre, m.gcm128_enc, m.gcm128_dec},
          {m.gcm192_pre, m.gcm192_enc, m.gcm192_dec},
          {m.gcm256_pre, m.gcm256_enc, m.gcm256_dec},
          m.chacha20_poly1305_init,
          m.chacha20_poly1305_enc_update,
          m.chacha20_poly1305_dec_update,
          m.chacha20_poly1305_finalize};
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

class MbChachaPoly final : public EspCipher {
 public:
  explicit MbChachaPoly(const uint8_t* key) { memcpy(key_, key, sizeof key_); }
  ~MbChachaPoly() override {
    OPENSSL_cleanse(key_, sizeof key_);
    OPENSSL_cleanse(&context_, sizeof context_);
    OPENSSL_cleanse(&parts, sizeof parts);
  }

  bool seal(uint8_t* packet, size_t length, uint32_t sequenceHigh) override {
    run(g_mb.chachaSeal, packet, length, sequenceHigh, nullptr);
    return true;
  }

  bool open(uint8_t* packet, size_t length, uint32_t sequenceHigh) override {
    uint8_t icv[16];
    run(g_mb.chachaOpen, packet, length, sequenceHigh, icv);
    return CRYPTO_memcmp(icv, parts.icv, shape.icvLength) == 0;
  }

  AeadParts parts{};

 private:
  void run(chacha_poly_enc_dec_update_t update, uint8_t* packet, size_t length, uint32_t sequenceHigh, uint8_t* icv) {
    AeadParts& p = parts;
    p.set(packet, length, sequenceHigh, shape.icvLength);
    g_mb.chachaInit(key_, &context_, p.nonce, p.header, p.headerLength);
    update(key_, &context_, p.text, p.text, p.textLength);
    g_mb.chachaFinish(&context_, icv == nullptr ? p.icv : icv, shape.icvLength);
  }

  alignas(64) uint8_t key_[32];
  chacha20_poly1305_context_data context_{};
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
  IMB_MGR* (*allocate)(uint64_t);
  void (*initialize)(IMB_MGR*, IMB_ARCH*);
  void (*release)(IMB_MGR*);
  if (!find(library, "imb_get_version", &getVersion) || !find(library, "alloc_mb_mgr", &allocate) ||
      !find(library, "init_mb_mgr_auto", &initialize) || !find(library, "free_mb_mgr", &release)) {
    return dlerror();
  }
  const std::string found = numbers(getVersion());
  *version += ' ' + found;
  // Places and sizes in the library's structures are those of the header we were built with.
  if (found != numbers(IMB_VERSION_NUM)) return "the addon was built for version " + numbers(IMB_VERSION_NUM);
  IMB_MGR* manager = allocate(0);
  if (manager == nullptr) return "out of memory";
  IMB_ARCH arch;
  initialize(manager, &arch);
  std::string whyNot = takeCalls(*manager, version);
  release(manager);
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
