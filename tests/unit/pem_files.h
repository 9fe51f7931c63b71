/*
 * pem_files: certificates and keys for the tests of the configuration. The keys guard nothing.
 * PEM_CERTIFICATE is valid from 2020 to 2119, the expired one ended in February 2001, the early one begins in
 * March 2119; all three are of PEM_KEY.
 */
#ifndef CLAVIGER_TESTS_PEM_FILES_H
#define CLAVIGER_TESTS_PEM_FILES_H

#define PEM_CERTIFICATE                                                                                      \
    "-----BEGIN CERTIFICATE-----\n"                                                                          \
    "MIIBGjCBwAIBATAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1jbGF2aWdlci50ZXN0\n"                                     \
    "MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAYMRYwFAYDVQQDDA1j\n"                                     \
    "bGF2aWdlci50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAElquK610AUscp\n"                                     \
    "Up9Vehx8uuYXT3j1drEvuVFkG3MGCYvmP9hQCA9PYqeRUmqmo7PtbUVNNOJSY+mL\n"                                     \
    "IX6ETIxMljAKBggqhkjOPQQDAgNJADBGAiEAy7/2+nXwnLTvyzJ8FviUAJSEoaL4\n"                                     \
    "rJJ4JLiytSI2o8sCIQDfNWsBJNSjZMlwUMK9BH1bNa699ZaBDThLhVapH7uJew==\n"                                     \
    "-----END CERTIFICATE-----\n"

#define PEM_EXPIRED                                                                                          \
    "-----BEGIN CERTIFICATE-----\n"                                                                          \
    "MIIBFzCBvgIBAjAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1jbGF2aWdlci50ZXN0\n"                                     \
    "MB4XDTAwMDEwMTAwMDAwMFoXDTAxMDIwMzAwMDAwMFowGDEWMBQGA1UEAwwNY2xh\n"                                     \
    "dmlnZXIudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJariutdAFLHKVKf\n"                                     \
    "VXocfLrmF0949XaxL7lRZBtzBgmL5j/YUAgPT2KnkVJqpqOz7W1FTTTiUmPpiyF+\n"                                     \
    "hEyMTJYwCgYIKoZIzj0EAwIDSAAwRQIhAN+1se8nxSakcEnIVX81IMZANV9GiRCe\n"                                     \
    "RYofMCK2KNPKAiAyubZeN6gVRPF9wRr1vMOzDOl/mSTEN19ilcv8XVz/iA==\n"                                         \
    "-----END CERTIFICATE-----\n"

#define PEM_EARLY                                                                                            \
    "-----BEGIN CERTIFICATE-----\n"                                                                          \
    "MIIBGzCBwgIBAzAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1jbGF2aWdlci50ZXN0\n"                                     \
    "MCIYDzIxMTkwMzA0MDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBgxFjAUBgNVBAMM\n"                                     \
    "DWNsYXZpZ2VyLnRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASWq4rrXQBS\n"                                     \
    "xylSn1V6HHy65hdPePV2sS+5UWQbcwYJi+Y/2FAID09ip5FSaqajs+1tRU004lJj\n"                                     \
    "6YshfoRMjEyWMAoGCCqGSM49BAMCA0gAMEUCICVN+seKvVK3GXTN5rAVKFMvworf\n"                                     \
    "4YrPs+IlywViXfDMAiEAnLgKveO2MYeB5GjqQZDfbpf30KyPX8Z/YSzwoBNgRCw=\n"                                     \
    "-----END CERTIFICATE-----\n"

#define PEM_KEY                                                                                              \
    "-----BEGIN EC PRIVATE KEY-----\n"                                                                       \
    "MHcCAQEEIHhgqFI3nS2OyRGOXeshQ+GPVAB57Hhb0QpBOPoZkVNjoAoGCCqGSM49\n"                                     \
    "AwEHoUQDQgAElquK610AUscpUp9Vehx8uuYXT3j1drEvuVFkG3MGCYvmP9hQCA9P\n"                                     \
    "YqeRUmqmo7PtbUVNNOJSY+mLIX6ETIxMlg==\n"                                                                 \
    "-----END EC PRIVATE KEY-----\n"

#define PEM_OTHER_KEY                                                                                        \
    "-----BEGIN EC PRIVATE KEY-----\n"                                                                       \
    "MHcCAQEEIF+FQNQubQ1+y5HosgaRmhQ3AZXmLyDfiaCLxhE91DwEoAoGCCqGSM49\n"                                     \
    "AwEHoUQDQgAED7JmQ1/Ux6Jhp4fRA9vV29+zgyLEwmpOARYL5Qjc6o9UU4Yzy8Gf\n"                                     \
    "70TtRdfcVebzIznGz1E8W8i8WN/hp0AlFw==\n"                                                                 \
    "-----END EC PRIVATE KEY-----\n"

#define PEM_ENCRYPTED_KEY                                                                                    \
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"                                                                \
    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgekAuOnUZC5gICA+gw\n"                                     \
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEAQIEEFvutwKHC7O+Qi3B2OYFRd4EgZDj\n"                                     \
    "lSNnhypzm53pt5DbVC4lR2n6QdY9s3Zjq+Mo6lJ/DqSZkxDJ+9/C8elSsDGQy95M\n"                                     \
    "OGLnbAbBYsOBhdYTSMy6ryhFe1tz1s0GDjJ9eKk8XNDg3/IbdTAfDTHwrbyTytLu\n"                                     \
    "2TZmS4VrzGHIPap3E5HSn00pMZ3fhIV8uZM5mknCkjHa+D4gDkGEIGATwMv5dKI=\n"                                     \
    "-----END ENCRYPTED PRIVATE KEY-----\n"

#endif
