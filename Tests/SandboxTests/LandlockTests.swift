// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Sandbox

/// The rights of Landlock's versions (Linux include/uapi/linux/landlock.h).
@Suite struct LandlockTests {
  @Test(
    "each version takes all rights that it knows, with the struct of its size",
    arguments: [
      (1, 0x1FFF, 0, 0, 8), (2, 0x3FFF, 0, 0, 8), (3, 0x7FFF, 0, 0, 8), (4, 0x7FFF, 0x3, 0, 16),
      (5, 0xFFFF, 0x3, 0, 16), (6, 0xFFFF, 0x3, 0x3, 24), (7, 0xFFFF, 0x3, 0x3, 24),
      (8, 0xFFFF, 0x3, 0x3, 24),
      (9, 0x1FFFF, 0x3, 0x3, 24), (10, 0x1FFFF, 0xF, 0x3, 24), (11, 0x1FFFF, 0xF, 0x3, 24),
      (99, 0x1FFFF, 0xF, 0x3, 24),
    ] as [(Int32, UInt64, UInt64, UInt64, Int)])
  func rights(_ abi: Int32, _ files: UInt64, _ network: UInt64, _ scopes: UInt64, _ size: Int) {
    let landlock = Landlock(abi: abi)
    #expect(landlock.files == files && landlock.network == network && landlock.scopes == scopes)
    #expect(landlock.size == size)
  }

  @Test("a version without some rights names them")
  func gap() {
    #expect(
      Landlock(abi: 2).gap
        == "ABI 2 of the kernel does not restrict TCP, signals and abstract sockets, connect() to a socket's path and UDP"
    )
    #expect(Landlock(abi: 9).gap == "ABI 9 of the kernel does not restrict UDP")
    #expect(Landlock(abi: 11).gap == nil)
  }
}
