// SPDX-License-Identifier: Apache-2.0

import Boot
import Sandbox
import Testing

@testable import VMM

@Suite struct PortDeviceTests {
  @Test("devices claim different ports, all below the end of the table and below I/O BARs")
  func ports() {
    var seen: Set<UInt16> = []
    for owner in PortOwner.allCases {
      for port in owner.ports.joined() {
        #expect(seen.insert(port).inserted, "port \(port) has two owners")
        #expect(Int(port) < PortOwner.end)
      }
    }
    #expect(seen.count == 8 + 5 + 3 + 2 + 1 + 1)
  }

  @Test("the DSDT describes the serial port with its GSI, and the panic port")
  func platformDevices() {
    #expect(PortOwner.platformDevices.map(\.name) == ["COM1", "PEVT"])
    #expect(PortOwner.platformDevices.map(\.gsi) == [4, nil])
    #expect(PortOwner.platformDevices.map(\.ports) == [0x3F8...0x3FF, 0x505...0x505])
  }

  @Test("the table of system calls has the rules of each device, which the core does not have")
  func rules() {
    #expect(Serial.rules.map(\.call) == ["epoll_ctl", "getpgrp"])
    #expect(Rule.machine.count == Rule.core.count + PortOwner.rules.count)
    for rule in PortOwner.rules {
      #expect(Rule.machine.contains { $0.call == rule.call && $0.reason == rule.reason })
      #expect(!Rule.core.contains { $0.call == rule.call && $0.threads == rule.threads })
    }
  }
}
