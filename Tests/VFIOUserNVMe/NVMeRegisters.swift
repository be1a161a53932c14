// SPDX-License-Identifier: Apache-2.0

/// The registers of a controller (NVM Express Base 1.4 §3.1), as far as the host writes them.
struct NVMeRegisters {
  /// Offsets in BAR 0.
  enum Offset {
    static let capabilities = 0x00
    static let version = 0x08
    static let maskSet = 0x0C
    static let maskClear = 0x10
    static let configuration = 0x14
    static let status = 0x1C
    static let adminAttributes = 0x24
    static let adminSubmission = 0x28
    static let adminCompletion = 0x30
    static let doorbells = 0x1000
    /// The first offset after the registers of version 1.4.
    static let end = 0x40
  }

  /// The version that the controller reports: 1.2.1.
  static let version: UInt32 = 0x0001_0201
  /// The maximum number of entries of a queue.
  static let mostEntries = 1024
  private static let enable: UInt32 = 1
  private static let ready: UInt32 = 1
  private static let fatal: UInt32 = 2
  private static let shutdownComplete: UInt32 = 8
  private static let shutdownMask: UInt32 = 0xC000

  /// CAP: queues are contiguous, the timeout is 10 s, doorbells adjoin, the NVM command set, pages of 4 KiB.
  static let capabilities = UInt64(mostEntries - 1) | 1 << 16 | 20 << 24 | 1 << 37

  var mask: UInt32 = 0
  private(set) var configuration: UInt32 = 0
  private(set) var status: UInt32 = 0
  var adminAttributes: UInt32 = 0
  var adminSubmission: UInt64 = 0
  var adminCompletion: UInt64 = 0

  /// The effect of a write to CC.
  enum Effect {
    case none
    /// The controller becomes ready.
    case start
    /// The queues are deleted.
    case stop
    /// The image is flushed.
    case shutdown
  }

  /// Writes CC and updates CSTS.
  mutating func configure(_ value: UInt32) -> Effect {
    let old = configuration
    configuration = value
    if value & Self.enable != old & Self.enable {
      status = value & Self.enable != 0 ? Self.ready : 0
      return value & Self.enable != 0 ? .start : .stop
    }
    guard value & Self.shutdownMask != 0 else {
      status &= ~0xC
      return .none
    }
    status |= Self.shutdownComplete
    return .shutdown
  }

  /// True if the controller executes commands.
  var isReady: Bool { status & (Self.ready | Self.fatal) == Self.ready }

  /// Sets Controller Fatal Status: a queue cannot be accessed.
  mutating func fail() { status |= Self.fatal }

  /// The entries of the admin queues.
  var adminSubmissionEntries: Int { Int(adminAttributes & 0xFFF) + 1 }
  var adminCompletionEntries: Int { Int(adminAttributes >> 16 & 0xFFF) + 1 }

  /// The registers as bytes. The rest of the page is zero.
  var bytes: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Offset.end)
    func set(_ offset: Int, _ value: UInt64, _ width: Int) {
      for index in 0..<width { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index)) }
    }
    set(Offset.capabilities, Self.capabilities, 8)
    set(Offset.version, UInt64(Self.version), 4)
    set(Offset.maskSet, UInt64(mask), 4)
    set(Offset.maskClear, UInt64(mask), 4)
    set(Offset.configuration, UInt64(configuration), 4)
    set(Offset.status, UInt64(status), 4)
    set(Offset.adminAttributes, UInt64(adminAttributes), 4)
    set(Offset.adminSubmission, adminSubmission, 8)
    set(Offset.adminCompletion, adminCompletion, 8)
    return bytes
  }
}
