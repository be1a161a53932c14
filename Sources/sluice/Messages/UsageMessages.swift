// SPDX-License-Identifier: Apache-2.0

import VMM

extension UsageProblem {
  /// The option, the facts and the remedy.
  var message: String { "\(option): \(self); \(remedy)" }

  private var option: String {
    switch self {
    case .memoryTooSmall, .memoryNotAligned, .privateMemory: "--memory"
    case .cpuCount: "--cpus"
    case .pinnedCPU: "--cpu-pin"
    case .deviceCount, .duplicate, .unknownPeer, .reconnectWithoutPort: "--device"
    case .portCount: "--ports"
    }
  }

  private var remedy: String {
    switch self {
    case .memoryTooSmall: "give a larger size"
    case .memoryNotAligned(_, let pageSize): "give a multiple of \(pageSize >> 10)K"
    case .cpuCount: "give a number from 1 to 255"
    case .pinnedCPU: "give one of these, or a larger --cpus"
    case .deviceCount: "give fewer devices"
    case .portCount(_, let devices): "give a number from 0 to \(Configuration.maxDevices - devices)"
    case .duplicate: "give it once"
    case .privateMemory: "leave hugepages=thp out, or give hugepages=2M"
    case .reconnectWithoutPort(let address): "give --device \(address),port,reconnect=SECONDS"
    case .unknownPeer(let peer, _): "add --device \(peer), or leave peer-dma=POLICY@\(peer) out"
    }
  }
}
