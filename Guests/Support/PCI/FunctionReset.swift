// SPDX-License-Identifier: Apache-2.0

/// Function Level Reset (PCIe 6.0 §6.6.2) through the PCI Express or the Advanced Features capability.
enum FunctionReset {
  private static let express: UInt8 = 0x10
  private static let advancedFeatures: UInt8 = 0x13

  /// Returns true if the function supports FLR.
  static func isSupported(_ function: PCIFunction) -> Bool {
    expressOffset(function) != nil || advancedFeaturesOffset(function) != nil
  }

  private static func expressOffset(_ function: PCIFunction) -> UInt16? {
    guard let offset = function.capability(express), function.load32(offset + 4) & 1 << 28 != 0 else {
      return nil
    }
    return offset
  }

  private static func advancedFeaturesOffset(_ function: PCIFunction) -> UInt16? {
    // AF Capabilities: Transactions Pending and FLR (PCI ECN Advanced Capabilities §6.x.4).
    guard let offset = function.capability(advancedFeatures), function.load8(offset + 3) & 3 == 3 else {
      return nil
    }
    return offset
  }

  /// Resets the function and waits for the time that the specification requires.
  ///
  /// - Parameter pause: The time to wait, in milliseconds.
  /// - Returns: False if the function does not support FLR.
  static func start(_ function: PCIFunction, pause: UInt64 = 100) -> Bool {
    if let offset = expressOffset(function) {
      // Device Control: Initiate Function Level Reset.
      function.store16(offset + 8, function.load16(offset + 8) | 1 << 15)
    } else if let offset = advancedFeaturesOffset(function) {
      function.store8(offset + 4, 1)
    } else {
      return false
    }
    Time.wait(milliseconds: pause)
    return true
  }
}
